from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.tokens.clip_codes import ClipCodes
from core.tokens.window import cut_window, loudest_window, loudest_windows

LEVELS = st.lists(st.integers(-1000, 0), min_size=1, max_size=60)


@given(levels=LEVELS, width=st.integers(1, 20), count=st.integers(1, 6))
def test_windows_share_no_code_and_fall_in_loudness(levels: list[int], width: int, count: int) -> None:
    starts = loudest_windows(np.array(levels, dtype=np.int16), width, count)
    assert 1 <= len(starts) <= count
    assert all(abs(one - other) >= width for one, other in combinations(starts, 2))
    assert all(0 <= start <= max(0, len(levels) - width) for start in starts)
    energies = [sum(10 ** (level / 100) for level in levels[at : at + width]) for at in starts]
    assert all(later <= earlier * (1 + 1e-9) for earlier, later in pairwise(energies))


@given(levels=LEVELS, width=st.integers(1, 20), count=st.integers(1, 6))
def test_more_windows_begin_with_the_fewer(levels: list[int], width: int, count: int) -> None:
    array = np.array(levels, dtype=np.int16)
    assert loudest_windows(array, width, count + 1)[:count] == loudest_windows(array, width, count)


def test_silence_beside_a_sound_is_not_shown() -> None:
    levels = np.array([-900] * 10 + [-100] * 4 + [-350] * 4 + [-900] * 10, dtype=np.int16)
    assert loudest_windows(levels, 4, 3) == (10, 14)


def test_a_clip_no_longer_than_a_window_is_one_window() -> None:
    assert loudest_windows(np.array([-300, -1], dtype=np.int16), 16, 3) == (0,)


@pytest.mark.parametrize("wrong", [(0, 16, 3), (16, 0, 3), (16, 16, 0)])
def test_windows_without_levels_width_or_count_are_refused(wrong: tuple[int, int, int]) -> None:
    length, width, count = wrong
    with pytest.raises(ValueError, match="at least 1"):
        loudest_windows(np.zeros(length, dtype=np.int16), width, count)


def test_a_window_takes_the_acoustic_codes_under_it() -> None:
    window = cut_window(numbered_clip(5), 3, 4)
    assert window.semantic.tolist() == [3, 4, 5, 6]
    assert window.layers[1].tolist() == list(range(6, 14))
    assert window.layers[2].tolist() == list(range(12, 28))


def test_a_window_ends_where_the_clip_ends() -> None:
    window = cut_window(numbered_clip(1), 0, 16)
    assert [len(codes) for codes in window.layers] == [2, 4, 8]


@pytest.mark.parametrize(("start", "width"), [(-1, 4), (10, 4), (0, 0)])
def test_a_window_outside_the_clip_is_refused(start: int, width: int) -> None:
    with pytest.raises(ValueError, match="no window"):
        cut_window(numbered_clip(5), start, width)


def numbered_clip(num_blocks: int) -> ClipCodes:
    *layers, levels = (np.arange(count * num_blocks, dtype=np.int16) for count in (2, 4, 8, 2))
    return ClipCodes(tuple(layers), levels)


@given(levels=st.lists(st.integers(-1000, 0), min_size=1, max_size=60), width=st.integers(1, 20))
def test_no_window_is_louder_than_the_loudest(levels: list[int], width: int) -> None:
    start = loudest_window(np.array(levels, dtype=np.int16), width)
    starts = range(max(1, len(levels) - width + 1))
    energies = [sum(10 ** (level / 100) for level in levels[at : at + width]) for at in starts]
    assert start in starts
    assert energies[start] == pytest.approx(max(energies), rel=1e-9)


@given(before=st.lists(st.integers(-1000, -200), max_size=10), peak=st.integers(-150, 0))
def test_the_earliest_of_equal_windows_is_taken(before: list[int], peak: int) -> None:
    quiet = [-1000] * 8
    levels = [*before, *quiet, peak, peak, *quiet, peak, peak, *quiet]
    assert loudest_window(np.array(levels, dtype=np.int16), 2) == len(before) + 8


def test_a_short_loud_event_beats_a_long_quiet_one() -> None:
    levels = np.array([-400] * 16 + [-1000] * 15 + [-10], dtype=np.int16)
    assert loudest_window(levels, 16) == 16
