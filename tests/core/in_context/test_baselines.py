import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.in_context.baselines import NEAREST_TEMPERATURE, Baselines, NearestNeighbor, chance, majority
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes
from tests.core.made_clips import clip_of

LABELS = ("cat", "dog", "rain")
SIZES = (12, 30, 30)


def random_clip(generator: np.random.Generator) -> ClipCodes:
    blocks = int(generator.integers(1, 6))
    layers = [
        generator.integers(0, size, count * blocks).astype(np.int16)
        for size, count in zip(SIZES, (2, 4, 8), strict=True)
    ]
    return clip_of(layers)


def random_library(generator: np.random.Generator, shots: int = 2) -> list[LabeledClip]:
    return [LabeledClip(random_clip(generator), label) for _ in range(shots) for label in LABELS]


def cosine(left: ClipCodes, right: ClipCodes) -> float:
    """Compute the cosine by its definition, one pair at a time."""
    cosines = []
    for size, a, b in zip(SIZES, left.layers, right.layers, strict=True):
        p, q = (np.sqrt(np.bincount(codes, minlength=size)) for codes in (a, b))
        cosines.append(p @ q / np.linalg.norm(p) / np.linalg.norm(q))
    return float(np.mean(cosines))


@given(seed=st.integers(0, 10**9), queries=st.integers(0, 8))
def test_similarity_is_the_mean_cosine_to_the_nearest_demonstration_of_a_label(
    seed: int, queries: int
) -> None:
    generator = np.random.default_rng(seed)
    library = random_library(generator)
    clips = [random_clip(generator) for _ in range(queries)]
    expected = [
        [max(cosine(clip, one.codes) for one in library if one.label == label) for label in LABELS]
        for clip in clips
    ]
    similarities = NearestNeighbor(LABELS, library).similarities(clips)
    np.testing.assert_allclose(similarities, np.reshape(expected, (queries, 3)), atol=1e-9)


@given(seed=st.integers(0, 10**9))
def test_probabilities_add_up_and_follow_the_similarities(seed: int) -> None:
    generator = np.random.default_rng(seed)
    nearest = NearestNeighbor(LABELS, random_library(generator))
    clips = [random_clip(generator) for _ in range(5)]
    probabilities, similarities = nearest.probabilities(clips), nearest.similarities(clips)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    gaps = (similarities[:, 0] - similarities[:, 1]) / NEAREST_TEMPERATURE
    np.testing.assert_allclose(np.log(probabilities[:, 0] / probabilities[:, 1]), gaps, atol=1e-9)


def test_a_demonstration_is_most_like_its_own_label() -> None:
    library = random_library(np.random.default_rng(3))
    nearest = NearestNeighbor(LABELS, library)
    similarities = nearest.similarities([one.codes for one in library])
    assert [LABELS[at] for at in similarities.argmax(axis=1)] == [one.label for one in library]
    np.testing.assert_allclose(similarities.max(axis=1), 1)


def test_a_query_is_answered_alike_alone_and_among_thousands() -> None:
    generator = np.random.default_rng(5)
    nearest = NearestNeighbor(LABELS, random_library(generator))
    clips = [random_clip(generator) for _ in range(2000)]
    together = nearest.similarities(clips)
    assert np.array_equal(nearest.similarities(clips[777:778]), together[777:778])


def test_equally_near_labels_are_equal_to_the_last_digit() -> None:
    generator = np.random.default_rng(7)
    same = random_clip(generator)
    library = [LabeledClip(same, label) for label in LABELS]
    similarities = NearestNeighbor(LABELS, library).similarities([random_clip(generator)])
    assert len(set(similarities[0].tolist())) == 1


def test_a_query_of_unknown_codes_is_like_nothing() -> None:
    library = random_library(np.random.default_rng(9))
    stranger = clip_of(np.full(length, 31999, np.int16) for length in (2, 4, 8))
    assert NearestNeighbor(LABELS, library).similarities([stranger]).tolist() == [[0.0, 0.0, 0.0]]


def test_chance_is_one_in_so_many() -> None:
    assert chance(LABELS) == {"label": "cat", "probability": pytest.approx(1 / 3)}


def test_the_majority_is_the_most_shown_label_the_first_of_equals() -> None:
    library = random_library(np.random.default_rng(1))
    assert majority(LABELS, library) == {"label": "cat", "probability": pytest.approx(1 / 3)}
    assert majority(LABELS, library[2:]) == {"label": "rain", "probability": 0.5}


def test_every_query_gets_each_baselines_guess_the_first_label_where_labels_are_equal() -> None:
    baselines = Baselines(LABELS, random_library(np.random.default_rng(1)))
    queries = [random_clip(np.random.default_rng(seed)) for seed in range(2)]
    guesses = baselines.guesses(queries, np.array([[0.2, 0.4, 0.4], [0.6, 0.3, 0.1]]))
    assert [guess["nearest"] for guess in guesses] == [
        {"label": "dog", "probability": 0.4},
        {"label": "cat", "probability": 0.6},
    ]
    assert all(guess.keys() == {"chance", "majority", "nearest"} for guess in guesses)
