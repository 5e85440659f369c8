"""Words that two clips share are found in their order, and no word is lost."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flows.pipeline.generation.page.alignment import Stretch, align

WORDS = st.lists(st.sampled_from(["river", "about", "glass", "often"]), max_size=20)


def test_shared_runs_stand_side_by_side_and_the_rest_between_them() -> None:
    first = ["river", "about", "glass", "often", "wet"]
    second = ["money", "river", "about", "often", "wet"]
    assert align(first, second) == (
        Stretch((), ("money",), shared=False),
        Stretch(("river", "about"), ("river", "about"), shared=True),
        Stretch(("glass",), (), shared=False),
        Stretch(("often", "wet"), ("often", "wet"), shared=True),
    )


def test_a_word_that_both_say_all_the_time_is_shared_too() -> None:
    words = ["lead"] * 300
    assert align(words, words) == (Stretch(tuple(words), tuple(words), shared=True),)


@given(WORDS, WORDS)
def test_no_word_is_lost_or_moved(first: list[str], second: list[str]) -> None:
    stretches = align(first, second)
    assert [word for stretch in stretches for word in stretch.first] == first
    assert [word for stretch in stretches for word in stretch.second] == second


@given(WORDS, WORDS)
def test_what_is_shared_is_equal_and_alternates_with_what_is_not(first: list[str], second: list[str]) -> None:
    stretches = align(first, second)
    assert all((one.first == one.second) == one.shared for one in stretches)
    assert all(one.shared != other.shared for one, other in pairwise(stretches))
