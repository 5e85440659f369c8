"""Word errors are an edit distance over words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.word_errors import word_error_rate, word_errors, words

TEXTS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ("The cat, sat DOWN.", 0),
        ("the cat down", 1),
        ("the fat cat sat down", 1),
        ("the bat sat down", 1),
        ("", 4),
        ("down sat cat the", 4),
    ],
)
def test_words_left_out_put_in_and_exchanged_count_once(heard: str, errors: int) -> None:
    assert word_errors("the cat sat down", heard) == errors


@given(TEXTS, TEXTS, TEXTS)
def test_errors_are_a_distance(one: str, other: str, third: str) -> None:
    assert (word_errors(one, other) == 0) == (words(one) == words(other))
    assert word_errors(one, other) == word_errors(other, one)
    assert word_errors(one, third) <= word_errors(one, other) + word_errors(other, third)


def test_a_number_is_its_word() -> None:
    assert words("One, 7 and 12 of 13") == ["one", "seven", "and", "twelve", "of", "13"]


def test_the_rate_is_over_all_words_and_needs_some() -> None:
    assert word_error_rate(["one two three", "four"], ["one two", "for"]) == 0.5
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(["..."], [""])
