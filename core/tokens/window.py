"""Selection of the windows of a clip's codes that enter a prompt.

A window is a run of consecutive semantic codes with the acoustic codes under it. Loud windows come first: in
a clip with a short sound and a long silence, the sound matters.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.tokens.clip_codes import ClipCodes, CodeArray, Int16Array

DEFAULT_WINDOW = 16
DEFAULT_MAX_WINDOWS = 3

AUDIBLE_ENERGY_RATIO = 1000
"""Windows this many times weaker than the loudest (30 dB) are left out."""


@dataclass(frozen=True, eq=False, slots=True)
class WindowCodes:
    """Codes of a window, coarse to fine: in the LLM-Codec n semantic ones, 2n and 4n acoustic ones."""

    layers: tuple[CodeArray, ...]

    @property
    def semantic(self) -> CodeArray:
        """The first layer."""
        return self.layers[0]


def cut_window(codes: ClipCodes, start: int, width: int) -> WindowCodes:
    """Return `width` semantic codes from `start` (fewer at the end) with the acoustic codes under them."""
    length = len(codes.semantic)
    if not 0 <= start < length or width < 1:
        raise ValueError(f"no window of {width} codes at {start} in a clip of {length} semantic codes")
    ratios = [count // codes.per_block[0] for count in codes.per_block]
    layers = zip(codes.layers, ratios, strict=True)
    return WindowCodes(tuple(layer[start * ratio : (start + width) * ratio] for layer, ratio in layers))


def loudest_windows(levels: Int16Array, width: int, count: int) -> tuple[int, ...]:
    """Return the starts of up to `count` disjoint windows, loudest first, the earliest of equals first.

    levels (n,): tenths of a dB. Windows with less than a thousandth of the first one's energy are left out as
    silence. A clip no longer than a window is one window. Energies are summed as integers, in steps 120 dB
    below the loudest level, so that equal windows have equal energy anywhere in the clip.
    """
    if min(len(levels), width, count) < 1:
        raise ValueError(f"{len(levels)} levels, width {width} and count {count} must be at least 1")
    energies = _window_energies(levels, width)
    floor = energies.max() // AUDIBLE_ENERGY_RATIO
    starts: list[int] = []
    while len(starts) < count and energies.max() >= floor:
        start = int(np.argmax(energies))
        starts.append(start)
        energies[max(0, start - width + 1) : start + width] = -1
    return tuple(starts)


def loudest_window(levels: Int16Array, width: int) -> int:
    """Return the start of the window with the most energy."""
    return loudest_windows(levels, width, 1)[0]


def _window_energies(levels: Int16Array, width: int) -> npt.NDArray[np.int64]:
    """Return the energy of every window, (starts,)."""
    below_peak = levels.astype(np.float64) - float(levels.max())
    energy = np.rint(10.0 ** (below_peak / 100.0) * 2**40).astype(np.int64)
    total = np.concatenate([[0], np.cumsum(energy)])
    width = min(width, len(levels))
    sums: npt.NDArray[np.int64] = total[width:] - total[:-width]
    return sums
