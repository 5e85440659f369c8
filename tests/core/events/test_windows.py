"""Where windows lie in a clip, and where a clip is silent."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.events.windows import ClipWindows, WindowGrid, audible, audible_windows, pieces

GRID = WindowGrid(window=0.96, hop=0.48, code=0.12)


@given(count=st.integers(1, 40), hop=st.floats(0.05, 1), overlap=st.floats(0, 1), end=st.floats(0.01, 1))
def test_the_pieces_of_windows_are_the_clip_without_gap_or_overlap(
    count: int, hop: float, overlap: float, end: float
) -> None:
    grid = WindowGrid(window=hop * (1 + overlap), hop=hop, code=0.12)
    duration = (count - 1) * hop + grid.window * end
    spans = pieces(count, grid, duration)
    assert spans[0, 0] == 0
    assert np.array_equal(spans[1:, 0], spans[:-1, 1]) or spans[-2, 1] == min(spans[-1, 0], duration)
    assert (spans[:, 0] <= spans[:, 1]).all()
    assert spans[-1, 1] >= min(duration, spans[-1, 0])


def test_a_code_is_silent_far_under_the_loudest_one_and_in_a_silent_clip_all_are() -> None:
    levels = np.array([-200, -590, -610, -1200], np.int16)
    assert audible(levels).tolist() == [True, True, False, False]
    assert not audible(np.full(4, -1200, np.int16)).any()
    assert audible(np.array([-880, -890], np.int16)).all()


def test_a_window_is_audible_if_a_code_of_its_piece_is() -> None:
    levels = np.full(20, -1200, np.int16)
    levels[9] = -100  # 1.08 to 1.20 s: the piece from 0.72 to 1.20 s has it
    clip = ClipWindows(2.4, levels, vectors=np.ones((4, 2)))
    assert audible_windows(clip, GRID).tolist() == [False, True, False, False]
