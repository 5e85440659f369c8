"""The plan by which a clip is cut for the encoder; it depends on the length of the clip alone.

A frame depends on fewer than 16 frames on each side (paper, section 3.2), and the attention windows are
aligned to the block grid. So windows of whole blocks with two blocks of context on each side give the codes
of the whole clip, in bounded memory and with few shapes: one for each length up to a window, one for all
longer clips.
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
    """Samples (W * block_length,) of a clip from block `start`; its codes are those of the blocks `keep`.

    The last `padding` samples are the zeros that fill the clip's last block.
    """

    samples: Tensor
    start: int
    keep: slice
    padding: int = 0


def cut_windows(pieces: Iterable[Tensor], block_length: int) -> Iterator[EncoderWindow]:
    """Yield the windows, first to last, of a clip that arrives as 1-D pieces of any size.

    The end is padded with zeros to a whole block. Needs memory for two windows and a piece; an empty clip has
    no windows.
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
    """The part of a clip still needed: `start` is its first block, `kept` the first without codes."""

    def __init__(self, block_length: int) -> None:
        self.block_length = block_length
        self.samples = torch.zeros(0)
        self.start = 0
        self.kept = 0

    def append(self, piece: Tensor) -> None:
        """Add the next piece."""
        self.samples = torch.cat((self.samples, piece))

    def take(self) -> EncoderWindow:
        """Return a full window that is not the last one, and drop samples that are no longer needed."""
        samples = self.samples[: WINDOW_BLOCKS * self.block_length]
        window = self._window(samples, self.start + WINDOW_BLOCKS - CONTEXT_BLOCKS)
        self.samples = self.samples[STEP_BLOCKS * self.block_length :]
        self.start += STEP_BLOCKS
        return window

    def last(self, padding: int) -> EncoderWindow:
        """Return the window at the end of the clip."""
        return self._window(self.samples, self.start + len(self.samples) // self.block_length, padding)

    def _window(self, samples: Tensor, until: int, padding: int = 0) -> EncoderWindow:
        window = EncoderWindow(
            samples, self.start, slice(self.kept - self.start, until - self.start), padding
        )
        self.kept = until
        return window
