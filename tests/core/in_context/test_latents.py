import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptError
from core.in_context.baselines import LATENT_TEMPERATURE, Baselines, latent_probabilities
from core.in_context.latents import NearestLatent
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes, Float16Array
from tests.core.made_clips import clip_of

LABELS = ("cat", "dog", "rain")


def clip(latent: Float16Array | None) -> ClipCodes:
    return clip_of((np.zeros(length, np.int16) for length in (2, 4, 8)), latent=latent)


def random_clip(generator: np.random.Generator) -> ClipCodes:
    latent = generator.standard_normal((2, 6))
    return clip(np.abs(latent, where=[[False], [True]], out=latent).astype(np.float16))


def library(generator: np.random.Generator, shots: int = 3) -> list[LabeledClip]:
    return [LabeledClip(random_clip(generator), label) for _ in range(shots) for label in LABELS]


def cosine(one: ClipCodes, other: ClipCodes) -> float:
    """Compute the cosine by its definition, one pair at a time."""
    assert one.latent is not None
    assert other.latent is not None
    a, b = (latent.astype(np.float64).ravel() for latent in (one.latent, other.latent))
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@given(seed=st.integers(0, 10**9))
def test_similarity_is_the_cosine_to_the_nearest_demonstration_of_a_label(seed: int) -> None:
    generator = np.random.default_rng(seed)
    shown, query = library(generator), random_clip(generator)
    expected = [max(cosine(query, one.codes) for one in shown if one.label == label) for label in LABELS]
    nearest = NearestLatent(LABELS, shown)
    np.testing.assert_allclose(nearest.similarities([query])[0], expected, atol=1e-9)
    probabilities = latent_probabilities(nearest, [query])[0]
    assert probabilities.sum() == pytest.approx(1)
    gap = np.log(probabilities[0] / probabilities[1])
    assert gap == pytest.approx((expected[0] - expected[1]) / LATENT_TEMPERATURE)


@given(seed=st.integers(0, 10**9), shots=st.integers(1, 3))
def test_the_nearest_demonstrations_are_the_most_alike_of_each_label_in_library_order(
    seed: int, shots: int
) -> None:
    generator = np.random.default_rng(seed)
    shown, query = library(generator), random_clip(generator)
    chosen = NearestLatent(LABELS, shown).nearest(query, shots)
    assert list(chosen) == sorted(chosen)
    for label in LABELS:
        inside = [cosine(query, shown[at].codes) for at in chosen if shown[at].label == label]
        outside = [
            cosine(query, one.codes)
            for at, one in enumerate(shown)
            if one.label == label and at not in chosen
        ]
        assert len(inside) == shots
        assert min(inside) >= max(outside, default=-1.0) - 1e-9


def test_of_equally_near_demonstrations_the_first_are_chosen() -> None:
    same = random_clip(np.random.default_rng(1))
    shown = [LabeledClip(same, label) for label in (*LABELS, *LABELS)]
    assert NearestLatent(LABELS, shown).nearest(same, 1) == (0, 1, 2)


def test_a_query_is_alike_alone_and_among_many() -> None:
    generator = np.random.default_rng(2)
    nearest = NearestLatent(LABELS, library(generator))
    clips = [random_clip(generator) for _ in range(500)]
    together = nearest.similarities(clips)
    assert np.array_equal(nearest.similarities(clips[77:78]), together[77:78])


def test_a_latent_of_zeros_is_like_nothing() -> None:
    nearest = NearestLatent(LABELS, library(np.random.default_rng(3)))
    assert nearest.similarities([clip(np.zeros((2, 6), np.float16))]).tolist() == [[0.0, 0.0, 0.0]]


def test_a_clip_without_a_latent_is_refused_here_and_left_out_of_the_baselines() -> None:
    generator = np.random.default_rng(4)
    shown, known = library(generator), random_clip(generator)
    with pytest.raises(PromptError, match="tokenize it again"):
        NearestLatent(LABELS, shown).similarities([clip(None)])
    with pytest.raises(PromptError, match="tokenize it again"):
        NearestLatent(LABELS, [*shown, LabeledClip(clip(None), "cat")])
    guesses = Baselines(LABELS, shown).guesses([known, clip(None)], np.full((2, 3), 1 / 3))
    assert guesses[0].keys() - guesses[1].keys() == {"nearest_latent"}
    partly = Baselines(LABELS, [*shown, LabeledClip(clip(None), "cat")])
    assert "nearest_latent" not in partly.guesses([known], np.full((1, 3), 1 / 3))[0]
