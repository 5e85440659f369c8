from dataclasses import replace
from typing import Literal

import numpy as np
import pytest

from core.evaluation.episodes import LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.measure import score
from core.evaluation.methods import FewShotMethod, baselines, installed
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from tests.core.made_clips import clip_of


def clip(label: int, generator: np.random.Generator) -> ClipCodes:
    layers = (generator.integers(10 * label, 10 * label + 10, n * 6).astype(np.int16) for n in (2, 4, 8))
    latent = (np.eye(4)[[label, label]] + 0.1 * generator.random((2, 4))).astype(np.float16)
    return clip_of(layers, latent=latent)


@pytest.fixture(scope="module")
def clips() -> LabeledClips:
    """Return four classes, each with its own codes, latents and vectors."""
    generator = np.random.default_rng(0)
    labels = [label for label in range(4) for _ in range(6)]
    codes = tuple(clip(label, generator) for label in labels)
    vectors = np.eye(4)[labels] + 0.1 * generator.standard_normal((24, 4))
    names = tuple("abcd"[label] for label in labels)
    return LabeledClips(codes, names, tuple(map(str, range(24))), {"log-mel": vectors})


def test_baselines_tell_classes_of_other_codes_apart_and_know_when_they_cannot(clips: LabeledClips) -> None:
    episodes = draw_episodes(clips, 3, 2, 30, seed=0)
    shuffled = shuffle_labels(episodes, seed=0)
    for name, method in baselines(clips).items():
        replies = [method(clips, episode) for episode in episodes]
        assert all(reply.probabilities.sum() == pytest.approx(1) for reply in replies)
        expected = 1 / 3 if name in ("chance", "majority") else 1.0
        assert score(replies, episodes).accuracy == pytest.approx(expected), name
        control = [method(clips, episode) for episode in shuffled]
        assert score(control, shuffled).accuracy < 0.7, name


def test_vectors_and_latents_bring_baselines_of_their_own(clips: LabeledClips) -> None:
    by_latent = {"nearest latents", "logistic latents", "class mean latents"}
    assert {"class mean log-mel", "logistic log-mel"} | by_latent <= set(baselines(clips))
    without = replace(clips, codes=tuple(replace(one, latent=None) for one in clips.codes))
    assert not by_latent & set(baselines(without))


@pytest.mark.parametrize("mode", ["service", "paper"])
def test_a_language_model_answers_the_same_episodes(
    mode: Literal["service", "paper"], clips: LabeledClips, llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    method = FewShotMethod(llama, vocabulary, FewShotSettings(window=4, mode=mode))
    for episode in draw_episodes(clips, 3, 2, 4, seed=0):
        reply = method(clips, episode)
        assert reply.probabilities.sum() == pytest.approx(1)
        assert sorted(reply.votes) == [0, 0, 1]
        if mode == "service":
            assert reply.votes.argmax() == reply.probabilities.argmax()


def test_labelers_on_embeddings_are_told_apart_from_what_needs_no_model(clips: LabeledClips) -> None:
    assert not installed(clips)
    with_model = replace(clips, embeddings={"tagger": clips.vectors["log-mel"]})
    assert set(installed(with_model)) == {"class mean tagger", "logistic tagger"}
    assert set(baselines(with_model)) == set(baselines(clips))
    episodes = draw_episodes(with_model, 3, 2, 30, seed=0)
    for name, method in installed(with_model).items():
        replies = [method(with_model, episode) for episode in episodes]
        assert all(reply.probabilities.sum() == pytest.approx(1) for reply in replies)
        assert score(replies, episodes).accuracy == pytest.approx(1.0), name
