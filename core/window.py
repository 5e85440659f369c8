"""Which stretch of a clip's codes goes into a prompt.

A window is a run of consecutive semantic codes and the acoustic codes under it. A query is asked in a few
windows spread over the clip, a demonstration shows its loudest one.
"""

from dataclasses import dataclass

import numpy as np

from core.codes import CODES_PER_BLOCK, ClipCodes, Int16Array

DEFAULT_WINDOW = 16
DEFAULT_MAX_WINDOWS = 3


@dataclass(frozen=True, eq=False, slots=True)
class WindowCodes:
    """int16 codes: semantic (n,), acoustic1 (2n,) and acoustic2 (4n,), coarse to fine."""

    semantic: Int16Array
    acoustic1: Int16Array
    acoustic2: Int16Array

    @property
    def layers(self) -> tuple[Int16Array, Int16Array, Int16Array]:
        """The three layers, coarse to fine."""
        return self.semantic, self.acoustic1, self.acoustic2


def window_starts(length: int, width: int, max_windows: int) -> tuple[int, ...]:
    """Where the windows of a clip of `length` semantic codes begin.

    As many evenly spaced windows as cover the clip, at most `max_windows`; the one in the middle where one is
    all that is asked. A clip that is no longer than a window is one window.
    """
    if min(length, width, max_windows) < 1:
        raise ValueError(f"length {length}, width {width} and max_windows {max_windows} must be at least 1")
    last = max(0, length - width)
    count = min(max_windows, -(-length // width))
    if count == 1:
        return (last // 2,)
    return tuple(index * last // (count - 1) for index in range(count))


def cut_window(codes: ClipCodes, start: int, width: int) -> WindowCodes:
    """`width` semantic codes from `start` on, fewer at the clip's end, with the acoustic codes under them."""
    length = len(codes.semantic)
    if not 0 <= start < length or width < 1:
        raise ValueError(f"no window of {width} codes at {start} in a clip of {length} semantic codes")
    ratios = [count // CODES_PER_BLOCK[0] for count in CODES_PER_BLOCK]
    layers = zip(codes.layers, ratios, strict=True)
    return WindowCodes(*(layer[start * ratio : (start + width) * ratio] for layer, ratio in layers))


def loudest_window(levels: Int16Array, width: int) -> int:
    """The start of the window with the most energy, the earliest of equals.

    levels (n,): tenths of a dB. Energies are summed as integers, in steps 120 dB under the loudest level, so
    that equal windows are equal whatever lies before them.
    """
    if len(levels) <= width:
        return 0
    below_peak = levels.astype(np.float64) - float(levels.max())
    energy = np.rint(10.0 ** (below_peak / 100.0) * 2**40).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(energy)])
    return int(np.argmax(total[width:] - total[:-width]))
