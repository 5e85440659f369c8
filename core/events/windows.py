"""What is known of a clip in time: the windows of its embeddings, and where it is silent."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.in_context.baselines import FloatArray
from core.tokens.clip_codes import Int16Array

Mask = npt.NDArray[np.bool_]

SILENT_UNDER_LOUDEST = 400
"""Tenths of a dB under the loudest code of a clip, below which a code is silent."""
SILENT_LEVEL = -900
"""Tenths of a dB under full scale, below which a code is silent in any clip: 16 bits hold no more."""


@dataclass(frozen=True)
class WindowGrid:
    """Where the windows of an embedding model lie, and the codes of a codec, in seconds."""

    window: float
    hop: float
    code: float


@dataclass(frozen=True, eq=False)
class ClipWindows:
    """A clip of `duration` seconds with the level under each code, in tenths of a dB.

    vectors (windows, D): of one embedding model; scores (windows, classes): of one tagger.
    """

    duration: float
    levels: Int16Array
    vectors: FloatArray | None = None
    scores: FloatArray | None = None

    @property
    def count(self) -> int:
        """The number of windows."""
        known = self.vectors if self.vectors is not None else self.scores
        return 0 if known is None else len(known)

    @property
    def audible_codes(self) -> Mask:
        """Whether something is to be heard under each code."""
        return audible(self.levels)


def audible(levels: Int16Array) -> Mask:
    """Return for each code whether it is near enough to the loudest one of its clip."""
    loudest = int(levels.max(initial=SILENT_LEVEL))
    heard: Mask = levels > max(loudest - SILENT_UNDER_LOUDEST, SILENT_LEVEL)
    return heard


def pieces(count: int, grid: WindowGrid, duration: float) -> FloatArray:
    """Return (windows, 2): the part of the clip, from its start to its end, that each window speaks for.

    Windows overlap; each has its middle, the first one also what is before, the last what is after.
    """
    starts = np.arange(count) * grid.hop + (grid.window - grid.hop) / 2
    starts[:1] = 0.0
    ends = np.append(starts[1:], duration)[:count]
    return np.stack([starts, np.maximum(starts, np.minimum(ends, duration))], axis=1)


def audible_windows(clip: ClipWindows, grid: WindowGrid) -> Mask:
    """Return for each window whether its piece of the clip is not silent."""
    heard = np.concatenate(([0], np.cumsum(clip.audible_codes)))
    first, last = code_numbers(pieces(clip.count, grid, clip.duration), grid, len(clip.levels)).T
    audible_ones: Mask = heard[last] > heard[first]
    return audible_ones


def code_numbers(spans: FloatArray, grid: WindowGrid, count: int) -> npt.NDArray[np.int_]:
    """Return (spans, 2): the first code of each span of seconds, and the first one after it."""
    first = np.floor(spans[:, 0] / grid.code + 1e-6)
    last = np.ceil(spans[:, 1] / grid.code - 1e-6)
    numbers: npt.NDArray[np.int_] = np.clip(np.stack([first, last], axis=1), 0, count).astype(int)
    return numbers
