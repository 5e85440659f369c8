"""From scores of windows to events: the most likely way to switch each label on and off.

Each label is a chain of two states (Viterbi 1967). A window in an event counts the logarithm of its odds,
score / (1 - score); every event costs SWITCH_COST. So a gap is bridged where that costs less than another
event, and a lone window of a doubtful score makes none.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from core.events.windows import ClipWindows, Mask, WindowGrid, code_numbers, pieces
from core.in_context.baselines import FloatArray

SWITCH_COST = 1.0
"""What an event costs, in natural logarithms of odds."""
MAX_LOG_ODDS = 4.0
"""A single window is never surer than that: of a score of 0.982 or 0.018."""


class Event(NamedTuple):
    """A label and where it is heard, in seconds; score: the mean over its windows, 0 to 1."""

    label: str
    start_s: float
    end_s: float
    score: float


def join_windows(
    labels: Sequence[str], scores: FloatArray, clip: ClipWindows, grid: WindowGrid
) -> list[Event]:
    """Return the events of a clip by start and label, from scores (windows, labels).

    An event begins and ends where something is to be heard.
    """
    spans = pieces(clip.count, grid, clip.duration)
    active = switched_on(scores)
    found = [
        event
        for column, label in enumerate(labels)
        for first, last in runs(active[:, column])
        if (event := _event(label, scores[first:last, column], spans[first:last], clip, grid))
    ]
    return sorted(found, key=lambda event: (event.start_s, event.label))


def switched_on(scores: FloatArray) -> Mask:
    """Return (windows, labels): where the likeliest course of each label has it on."""
    edge = 1 / (1 + np.exp(MAX_LOG_ODDS))
    clipped = np.clip(scores, edge, 1 - edge)
    odds = np.log(clipped / (1 - clipped))
    off, on = np.zeros(scores.shape[1]), np.full(scores.shape[1], -np.inf)
    stays_off, stays_on = np.zeros(scores.shape, bool), np.zeros(scores.shape, bool)
    for at, gain in enumerate(odds):
        stays_off[at], stays_on[at] = off >= on, on >= off - SWITCH_COST
        off, on = np.maximum(off, on), np.maximum(on, off - SWITCH_COST) + gain
    state = on > off
    active = np.zeros(scores.shape, bool)
    for at in range(len(odds) - 1, -1, -1):
        active[at] = state
        state = np.where(state, stays_on[at], ~stays_off[at])
    return active


def runs(active: Mask) -> Iterator[tuple[int, int]]:
    """Yield the first number of each run of true values, and the first one after it."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], active, [False])).astype(np.int8)))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


def _event(
    label: str, scores: FloatArray, spans: FloatArray, clip: ClipWindows, grid: WindowGrid
) -> Event | None:
    """Return an event without the silence at its ends, None if it is all silent."""
    whole = np.array([[spans[0, 0], spans[-1, 1]]])
    ((first, last),) = code_numbers(whole, grid, len(clip.levels)).tolist()
    heard = np.flatnonzero(clip.audible_codes[first:last])
    if not len(heard):
        return None
    start = max(float(spans[0, 0]), float((first + heard[0]) * grid.code))
    end = min(float(spans[-1, 1]), float((first + heard[-1] + 1) * grid.code))
    return Event(label, start, end, float(scores.mean())) if end > start else None
