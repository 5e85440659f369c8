"""Windows are joined to the likeliest events."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.events.joining import MAX_LOG_ODDS, SWITCH_COST, join_windows, runs, switched_on
from core.events.windows import ClipWindows, WindowGrid

GRID = WindowGrid(window=0.96, hop=0.48, code=0.12)
LABELS = ("bell", "dog")
SCORES = st.floats(0, 1)


def clip_of(windows: int, silent: tuple[int, ...] = ()) -> ClipWindows:
    """Make a clip of so many windows that is loud but for these codes."""
    levels = np.full(4 * (windows + 1), -200, np.int16)
    levels[list(silent)] = -1200
    return ClipWindows(0.48 * (windows + 1), levels, vectors=np.ones((windows, 2)))


def worth(odds: np.ndarray, active: tuple[bool, ...]) -> float:
    events = sum(1 for _ in runs(np.array(active)))
    return float(odds[list(active)].sum()) - SWITCH_COST * events


@given(arrays(float, st.integers(1, 9), elements=SCORES))
def test_no_other_course_of_a_label_is_likelier(scores: np.ndarray) -> None:
    clipped = np.clip(scores, 1e-9, 1 - 1e-9)
    odds = np.clip(np.log(clipped / (1 - clipped)), -MAX_LOG_ODDS, MAX_LOG_ODDS)
    (found,) = switched_on(scores[:, None]).T
    best = max(worth(odds, active) for active in product((False, True), repeat=len(scores)))
    assert worth(odds, tuple(found.tolist())) == pytest.approx(best)


@given(st.integers(1, 12).flatmap(lambda count: arrays(float, (count, 2), elements=SCORES)))
def test_events_lie_in_the_clip_and_those_of_a_label_apart(scores: np.ndarray) -> None:
    clip = clip_of(len(scores), silent=(0, 5, 6, 7))
    events = join_windows(LABELS, scores, clip, GRID)
    assert events == sorted(events, key=lambda one: (one.start_s, one.label))
    for label in LABELS:
        times = [time for one in events if one.label == label for time in (one.start_s, one.end_s)]
        assert times == sorted(times)
    for one in events:
        assert 0 <= one.start_s < one.end_s <= clip.duration + 1e-9
        assert 0 <= one.score <= 1


def test_a_gap_of_one_doubtful_window_is_bridged_and_a_lone_doubtful_window_makes_no_event() -> None:
    scores = np.array([[0.9, 0.1], [0.4, 0.1], [0.9, 0.6], [0.9, 0.1]])
    (event,) = join_windows(LABELS, scores, clip_of(4), GRID)
    assert event.label == "bell"
    assert event[1:] == pytest.approx((0.0, 2.4, 0.775))


def test_an_event_begins_and_ends_where_something_is_heard() -> None:
    silent = (0, 1, 2, 15, 16, 17, 18, 19)
    (event,) = join_windows(LABELS, np.array([[0.9, 0.0]] * 4), clip_of(4, silent), GRID)
    assert (event.start_s, event.end_s) == pytest.approx((0.36, 1.8))


def test_a_silent_clip_has_no_event_whatever_its_scores() -> None:
    assert join_windows(LABELS, np.ones((3, 2)), clip_of(3, tuple(range(16))), GRID) == []
