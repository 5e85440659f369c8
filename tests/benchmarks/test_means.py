"""Means and rates have intervals over what was drawn."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.means import mean_of, rate_of

PAIRS = st.lists(
    st.integers(1, 9).flatmap(lambda size: st.tuples(st.integers(0, size), st.just(size))), min_size=1
)


@given(PAIRS)
def test_a_rate_is_over_everything_counted_and_lies_in_its_interval(pairs: list[tuple[int, int]]) -> None:
    counted, among = zip(*pairs, strict=True)
    rate = rate_of(counted, among)
    assert rate.mean == pytest.approx(sum(counted) / sum(among))
    assert rate.clips == len(pairs)
    assert min(c / a for c, a in pairs) - 1e-9 <= rate.interval[0] <= rate.interval[1]


@given(st.lists(st.integers(0, 1), min_size=1, max_size=20))
def test_a_rate_of_one_a_clip_is_a_mean(hits: list[int]) -> None:
    assert rate_of(hits, [1] * len(hits)) == mean_of(hits)
