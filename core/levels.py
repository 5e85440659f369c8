"""How loud a clip is under each semantic code; a demonstration shows its loudest window."""

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from torch import Tensor

from core.codes import Int16Array

QUIETEST = -1200
"""Tenths of a dB; what digital silence is given."""


class LevelMeter:
    """Measures the pieces of one clip on their way to the codec.

    `span` is the number of samples under a semantic code, `block_length` what the clip is padded to.
    """

    def __init__(self, span: int, block_length: int) -> None:
        self.span = span
        self.spans_per_block = block_length // span
        self._energies: list[Tensor] = []
        self._rest = torch.zeros(0)

    def measure(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Passes 1-D pieces through unchanged."""
        for piece in pieces:
            samples = torch.cat((self._rest, piece))
            whole = len(samples) // self.span * self.span
            self._energies.append(_energies(samples[:whole], self.span))
            self._rest = samples[whole:]
            yield piece

    @property
    def levels(self) -> Int16Array:
        """RMS of each span in tenths of a dB below full scale, int16; the padding counts as silence."""
        rest = torch.nn.functional.pad(self._rest, (0, -len(self._rest) % self.span))
        energies = torch.cat([*self._energies, _energies(rest, self.span)])
        energies = torch.nn.functional.pad(energies, (0, -len(energies) % self.spans_per_block))
        decibels = 100.0 * torch.log10(energies.clamp(min=1e-12))
        levels: Int16Array = decibels.round().clamp(min=QUIETEST).numpy().astype(np.int16)
        return levels


def _energies(samples: Tensor, span: int) -> Tensor:
    return samples.view(-1, span).double().square().mean(dim=1)
