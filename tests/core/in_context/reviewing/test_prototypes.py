"""What a library keeps: no label too many, none without an example, and what helps."""

from collections import Counter

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from core.in_context.reviewing.prototypes import keep_helpful, suspects, worths


@st.composite
def examples(draw: st.DrawFn) -> tuple[list[str], np.ndarray]:
    """Draw labels and vectors."""
    labels = draw(st.lists(st.sampled_from("abc"), min_size=1, max_size=16))
    vectors = draw(arrays(np.float64, (len(labels), 3), elements=st.floats(-1, 1, width=16)))
    return labels, vectors


@given(examples(), st.integers(1, 5))
def test_each_label_keeps_as_many_as_fit(of: tuple[list[str], np.ndarray], most: int) -> None:
    labels, vectors = of
    kept = keep_helpful(labels, vectors, most)
    assert kept == sorted(set(kept))
    counts = Counter(labels)
    assert Counter(labels[at] for at in kept) == {label: min(most, counts[label]) for label in counts}


@given(examples())
def test_a_library_that_fits_stays_as_it_is(of: tuple[list[str], np.ndarray]) -> None:
    labels, vectors = of
    assert keep_helpful(labels, vectors, len(labels)) == list(range(len(labels)))


@given(examples())
def test_worths_are_finite_numbers(of: tuple[list[str], np.ndarray]) -> None:
    assert np.isfinite(worths(*of)).all()


def test_the_newest_go_last() -> None:
    vectors = np.ones((6, 2))
    assert keep_helpful(["a"] * 6, vectors, 2, newest={1, 4}) == [1, 4]


def test_what_says_the_same_twice_goes_before_what_nothing_else_says() -> None:
    a, b = np.eye(3)[0], np.eye(3)[1]
    near_b = np.array([0.3, 1.0, 0.0])
    labels = ["a", "a", "a", "a", "b", "b", "b"]
    vectors = np.stack([a, a, a, near_b, b, b, near_b + 0.01])
    assert 3 in keep_helpful(labels, vectors, 3) or 6 in keep_helpful(labels, vectors, 3)
    assert len(keep_helpful(labels, vectors, 2)) == 4


def test_an_example_among_those_of_another_label_looks_mislabeled() -> None:
    rng = np.random.default_rng(0)
    labels = ["a"] * 8 + ["b"] * 8
    vectors = np.repeat(np.eye(2), 8, axis=0) + 0.05 * rng.standard_normal((16, 2))
    assert suspects(labels, vectors) == {}
    labels[3] = "b"
    assert suspects(labels, vectors) == {3: "a"}


def test_of_a_label_with_two_examples_none_is_suspected() -> None:
    vectors = np.array([[1.0, 0.0], [1.0, 0.1], [1.0, 0.05], [1.0, 0.02], [0.0, 1.0]])
    assert suspects(["a", "a", "a", "b", "b"], vectors) == {}
