"""How a clip is cut for the encoder: a plan that depends on its length alone.

A frame depends on fewer than 16 frames on either side (PAPER section 1.1), and the attention windows stand on
the block grid. So windows of whole blocks that overlap by two blocks of context on each side give the codes
of the whole clip, in bounded memory and few shapes: one for each length up to a window, one for all longer.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

WINDOW_BLOCKS = 32
CONTEXT_BLOCKS = 2
STEP_BLOCKS = WINDOW_BLOCKS - 2 * CONTEXT_BLOCKS


@dataclass(frozen=True)
class EncoderWindow:
    """Samples (W * block_length,) of a clip from block `start` on; blocks `keep` of them give its codes.

    The last `padding` samples are not the clip's own: they are the zeros that fill its last block.
    """

    samples: Tensor
    start: int
    keep: slice
    padding: int = 0


def cut_windows(pieces: Iterable[Tensor], block_length: int) -> Iterator[EncoderWindow]:
    """Windows, first to last, of a clip that arrives as 1-D pieces of any size.

    The end is padded with zeros to a whole block. Memory is two windows and a piece; no samples give none.
    """
    buffer = WindowBuffer(block_length)
    for piece in pieces:
        buffer.append(piece)
        while len(buffer.samples) > (WINDOW_BLOCKS + STEP_BLOCKS) * block_length:
            yield buffer.take()
    padding = -len(buffer.samples) % block_length
    buffer.append(torch.zeros(padding))
    if len(buffer.samples) > WINDOW_BLOCKS * block_length:
        yield buffer.take()
    if len(buffer.samples):
        yield buffer.last(padding)


class WindowBuffer:
    """The part of a clip that is still needed: `start` is its first block, `kept` the first without codes."""

    def __init__(self, block_length: int) -> None:
        self.block_length = block_length
        self.samples = torch.zeros(0)
        self.start = 0
        self.kept = 0

    def append(self, piece: Tensor) -> None:
        """Adds what follows."""
        self.samples = torch.cat((self.samples, piece))

    def take(self) -> EncoderWindow:
        """A full window that others follow; what its successor does not need is dropped."""
        samples = self.samples[: WINDOW_BLOCKS * self.block_length]
        window = self._window(samples, self.start + WINDOW_BLOCKS - CONTEXT_BLOCKS)
        self.samples = self.samples[STEP_BLOCKS * self.block_length :]
        self.start += STEP_BLOCKS
        return window

    def last(self, padding: int) -> EncoderWindow:
        """The window that ends with the clip."""
        return self._window(self.samples, self.start + len(self.samples) // self.block_length, padding)

    def _window(self, samples: Tensor, until: int, padding: int = 0) -> EncoderWindow:
        window = EncoderWindow(
            samples, self.start, slice(self.kept - self.start, until - self.start), padding
        )
        self.kept = until
        return window
