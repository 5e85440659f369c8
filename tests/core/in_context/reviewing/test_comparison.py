"""Gains that are claimed are there: the interval holds as often as it says."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.in_context.reviewing.comparison import paired_gain

PAIRS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60)


@given(PAIRS)
def test_turned_round_the_gain_changes_its_sign(pairs: list[tuple[bool, bool]]) -> None:
    old, new = zip(*pairs, strict=True)
    there, back = paired_gain(old, new), paired_gain(new, old)
    assert there.gain == pytest.approx(-back.gain)
    assert (there.low, there.high) == pytest.approx((-back.high, -back.low))
    assert -1 <= there.low <= there.high <= 1


@given(PAIRS)
def test_versions_that_answer_alike_are_never_told_apart(pairs: list[tuple[bool, bool]]) -> None:
    old, _ = zip(*pairs, strict=True)
    same = paired_gain(old, old)
    assert same.gain == 0
    assert same.low < 0 < same.high


def test_three_questions_that_all_go_better_are_not_certain_and_ten_are() -> None:
    assert paired_gain([False] * 3, [True] * 3).low < 0
    assert paired_gain([False] * 10, [True] * 10).low > 0


@pytest.mark.parametrize(("better", "worse"), [(0.1, 0.1), (0.3, 0.1), (0.02, 0.01)])
def test_the_interval_holds_the_true_gain_as_often_as_it_says(better: float, worse: float) -> None:
    rng = np.random.default_rng(1)
    held = []
    for _ in range(1_000):
        draws = rng.random(40)
        old = (draws < worse) | (draws > 0.5)
        new = (draws > worse) & ((draws < worse + better) | (draws > 0.5))
        gain = paired_gain(old.tolist(), new.tolist())
        held.append(gain.low <= better - worse <= gain.high)
    assert np.mean(held) >= 0.93


def test_no_question_says_nothing() -> None:
    nothing = paired_gain([], [])
    assert (nothing.low, nothing.high) == (-1, 1)


def test_answers_to_other_questions_are_not_compared() -> None:
    with pytest.raises(ValueError, match="not of the same questions"):
        paired_gain([True], [])
