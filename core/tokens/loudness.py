"""The level of a clip under each semantic code; a demonstration shows its loudest window.

In numpy: a small operation of torch releases the interpreter lock to other threads and waits for it.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from core.errors import AudioRejected
from core.tokens.clip_codes import Int16Array

Energies = NDArray[np.float64]
Number = TypeVar("Number", np.float32, np.float64)

MIN_LEVEL = -1200
"""Level of digital silence, in tenths of a dB."""


class LevelMeter:
    """Meter of the pieces of one clip on their way to the codec.

    `span`: samples under a semantic code. `block_length`: the clip is padded to a multiple of it.
    """

    def __init__(self, span: int, block_length: int) -> None:
        self.span = span
        self.spans_per_block = block_length // span
        self._energies: list[Energies] = []
        self._rest = np.zeros(0, np.float32)

    def measure(self, pieces: Iterable[Tensor]) -> Iterator[Tensor]:
        """Yield the 1-D pieces unchanged while measuring them."""
        for piece in pieces:
            samples = np.concatenate((self._rest, piece.numpy()))
            whole = len(samples) // self.span * self.span
            self._energies.append(_energies(samples[:whole], self.span))
            self._rest = samples[whole:]
            yield piece

    @property
    def levels(self) -> Int16Array:
        """RMS of each span in tenths of a dB relative to full scale, int16; the padding counts as silence.

        Raises AudioRejected when a sample is not finite.
        """
        rest = _filled_up(self._rest, self.span)
        energies = np.concatenate([*self._energies, _energies(rest, self.span)])
        if not np.isfinite(energies).all():
            raise AudioRejected("not_finite", "a sample is not a finite number at the codec's rate")
        energies = _filled_up(energies, self.spans_per_block)
        decibels = 100.0 * np.log10(np.maximum(energies, 1e-12))
        levels: Int16Array = np.maximum(decibels.round(), MIN_LEVEL).astype(np.int16)
        return levels


def _energies(samples: NDArray[np.float32], span: int) -> Energies:
    energies: Energies = np.square(samples.reshape(-1, span), dtype=np.float64).mean(axis=1)
    return energies


def _filled_up(values: NDArray[Number], multiple: int) -> NDArray[Number]:
    """Pad with zeros to a multiple; numpy's own pad takes ten times as long for short arrays."""
    filled = np.zeros(len(values) + -len(values) % multiple, values.dtype)
    filled[: len(values)] = values
    return filled
