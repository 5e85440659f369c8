import numpy as np
import pytest

from core.codes import ClipCodes
from core.evaluation.episodes import LabeledClips, draw_episodes, shuffle_labels
from core.evaluation.measure import score
from core.evaluation.methods import LanguageModel, answer_all, baselines
from core.few_shot import FewShotSettings
from core.llama import FrozenLlama
from core.vocabulary import Vocabulary


def clip(label: int, generator: np.random.Generator) -> ClipCodes:
    layers = (generator.integers(10 * label, 10 * label + 10, n * 6).astype(np.int16) for n in (2, 4, 8))
    return ClipCodes(*layers, np.zeros(12, np.int16))


@pytest.fixture(scope="module")
def clips() -> LabeledClips:
    """Four classes, each with codes and vectors of its own."""
    generator = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 6)
    codes = tuple(clip(label, generator) for label in labels)
    vectors = np.eye(4)[labels] + 0.1 * generator.standard_normal((24, 4))
    names = tuple("abcd"[label] for label in labels)
    return LabeledClips(codes, names, tuple(map(str, range(24))), {"easy": vectors})


def test_baselines_tell_classes_of_other_codes_apart_and_know_when_they_cannot(clips: LabeledClips) -> None:
    episodes = draw_episodes(clips, 3, 2, 30, seed=0)
    shuffled = shuffle_labels(episodes, seed=0)
    for name, method in baselines(clips).items():
        answers = answer_all(method, clips, episodes)
        assert answers.shape == (30, 3)
        assert answers.sum(axis=1) == pytest.approx(1)
        expected = 1 / 3 if name in ("chance", "majority") else 1.0
        assert score(answers, episodes).accuracy == pytest.approx(expected), name
        assert score(answer_all(method, clips, shuffled), shuffled).accuracy < 0.7, name


def test_vectors_bring_baselines_of_their_own(clips: LabeledClips) -> None:
    assert {"nearest easy", "logistic easy"} <= set(baselines(clips))


def test_a_language_model_answers_the_same_episodes(
    clips: LabeledClips, llama: FrozenLlama, vocabulary: Vocabulary
) -> None:
    method = LanguageModel(llama, vocabulary, FewShotSettings(window=4))
    answers = answer_all(method, clips, draw_episodes(clips, 3, 2, 4, seed=0))
    assert answers.shape == (4, 3)
    assert answers.sum(axis=1) == pytest.approx(1)
