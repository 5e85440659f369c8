"""What is asked about: the most doubt first, each clip of another kind, whatever the numbers are."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.in_context.reviewing.doubts import Doubt, weights
from core.in_context.reviewing.queue import Settled, choose_reviews

SIZES = st.integers(1, 14)


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw doubts, vectors of clips, and vectors of what is known."""
    clips, known = draw(SIZES), draw(st.integers(0, 4))
    numbers = st.floats(-1, 1, width=16)
    doubts = draw(arrays(np.float64, clips, elements=st.floats(0, 1)))
    vectors, shown = (draw(arrays(np.float64, (some, 3), elements=numbers)) for some in (clips, known))
    return doubts, vectors, shown


@given(pools(), st.integers(0, 20))
def test_each_clip_is_asked_about_once_and_as_many_as_there_are(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray], count: int
) -> None:
    doubts, vectors, shown = pool
    picks = choose_reviews(doubts, vectors, shown, count)
    numbers = [pick.number for pick in picks]
    assert len(set(numbers)) == len(numbers) == min(count, len(doubts))


@given(pools())
def test_gains_fall_are_never_negative_and_no_more_than_the_doubt_there_is(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    doubts, vectors, shown = pool
    gains = [pick.gain for pick in choose_reviews(doubts, vectors, shown, len(doubts))]
    assert all(after <= before + 1e-9 for before, after in pairwise(gains))
    assert min(gains) >= 0
    assert sum(gains) <= doubts.sum() + 1e-9


@given(pools(), st.integers(1, 5))
def test_a_shorter_queue_is_the_beginning_of_a_longer_one(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray], count: int
) -> None:
    longer = choose_reviews(*pool, count + 3)
    assert choose_reviews(*pool, count) == longer[:count]


@given(pools())
def test_the_first_clip_is_the_one_that_settles_most(
    pool: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    doubts, vectors, shown = pool
    (first,) = choose_reviews(doubts, vectors, shown, 1)
    assert first.gain == pytest.approx(Settled(vectors, shown).gains(doubts).max())


def test_ten_clips_of_ten_kinds_are_ten_different_ones() -> None:
    rng = np.random.default_rng(0)
    kinds = np.repeat(np.eye(10), 30, axis=0)
    vectors = kinds + 0.02 * rng.standard_normal(kinds.shape)
    picks = choose_reviews(np.full(300, 0.7), vectors, np.empty((0, 10)), 10)
    assert sorted(pick.number // 30 for pick in picks) == list(range(10))
    assert all(pick.stands_for == 30 for pick in picks)


def test_what_is_demonstrated_or_reviewed_is_not_asked_about_again() -> None:
    kinds = np.repeat(np.eye(3), 20, axis=0)
    picks = choose_reviews(np.full(60, 0.9), kinds, np.eye(3)[:2], 1)
    assert picks[0].number // 20 == 2


def test_a_frequent_doubt_comes_before_a_rare_one_and_a_large_before_a_small() -> None:
    kinds = np.concatenate([np.repeat(np.eye(2)[:1], 30, axis=0), np.repeat(np.eye(2)[1:], 3, axis=0)])
    assert choose_reviews(np.full(33, 0.5), kinds, np.empty((0, 2)), 1)[0].number < 30
    doubts = np.where(np.arange(33) < 30, 0.01, 0.9)
    assert choose_reviews(doubts, kinds, np.empty((0, 2)), 1)[0].number >= 30


@given(st.floats(0, 1), st.floats(0, 1), st.floats(0, 1))
def test_less_margin_and_more_disagreement_are_more_doubt(margin: float, less: float, share: float) -> None:
    low, high = sorted((margin, less))
    assert Doubt(low, share).weight >= Doubt(high, share).weight
    assert Doubt(margin, share).weight >= Doubt(margin).weight
    assert Doubt(margin, share, is_unknown=True).weight == 1.0 >= Doubt(margin, share).weight >= 0


def test_a_label_by_greedy_decoding_that_is_not_the_best_one_is_all_doubt() -> None:
    assert weights([Doubt(-0.2, 1.0)]).tolist() == [1.0]
