from collections.abc import Callable

import numpy as np
import pytest

from core.errors import PromptTooLong
from core.evaluation.episodes import Episode, LabeledClips
from core.evaluation.experiment import Experiment, few_shot
from core.evaluation.layouts import Column, columns
from core.evaluation.methods import Method, Reply, most_probable
from core.llama.model import FrozenLlama
from core.prompts.few_shot import FewShotSettings
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from tests.core.made_clips import clip_of

PROMPTS = columns("prompts", Column(2, 1), 4)


def clip(label: int, generator: np.random.Generator) -> ClipCodes:
    layers = (generator.integers(10 * label, 10 * label + 10, n * 3).astype(np.int16) for n in (2, 4, 8))
    return clip_of(layers)


@pytest.fixture(scope="module")
def clips() -> LabeledClips:
    """Return four labels, each with its own codes."""
    generator = np.random.default_rng(0)
    labels = [label for label in range(4) for _ in range(6)]
    codes = tuple(clip(label, generator) for label in labels)
    return LabeledClips(codes, tuple("abcd"[label] for label in labels), tuple(map(str, range(24))))


def run(experiment: Experiment) -> Experiment:
    for part in experiment.parts():
        experiment.ask(part)
    return experiment


def told(column: Column) -> Method:
    """Reply correctly with the instruction, and copy the first demonstration's label without it."""

    def answer(clips: LabeledClips, episode: Episode) -> Reply:
        said = episode.answer if column.instruction else episode.labels[0]
        return most_probable(np.array([float(label == said) for label in episode.label_set]))

    return answer


def test_every_row_has_a_score_for_every_column(clips: LabeledClips) -> None:
    scores = run(Experiment(clips, PROMPTS, {"model": told}, count=60, seed=1)).scores()
    first, *_, last = scores
    assert (first, last) == ("model", "model, shuffled labels")
    assert all(len(row) == len(PROMPTS) and all(row) for row in scores.values())
    accuracies = [score.accuracy for score in scores["model"] if score]
    assert accuracies[1:] == [1, 1, 1, 1]
    assert 0.3 < accuracies[0] < 0.7


def test_columns_of_equal_shots_ask_the_same_episodes_and_baselines_once(clips: LabeledClips) -> None:
    experiment = run(Experiment(clips, PROMPTS, {"model": told}, count=30, seed=1))
    nearest = experiment.scores()["nearest tokens"]
    assert nearest[0] == nearest[1] == nearest[3] == nearest[4]
    asked = [job for part in experiment.parts() for job, _ in part if job.row == "nearest tokens"]
    assert len(asked) == 2 * 30


def test_a_part_may_be_asked_again_and_parts_in_any_order(clips: LabeledClips) -> None:
    once = run(Experiment(clips, PROMPTS, {"model": told}, count=70, seed=1))
    again = Experiment(clips, PROMPTS, {"model": told}, count=70, seed=1)
    parts = again.parts()
    for part in (*reversed(parts), *parts[:3]):
        again.ask(part)
    assert again.scores() == once.scores()


def test_without_a_model_nearest_tokens_answers_and_is_controlled(clips: LabeledClips) -> None:
    experiment = run(Experiment(clips, [Column(2, 1)], {}, count=100, seed=1))
    scores = experiment.scores()
    assert experiment.answering == ("nearest tokens",)
    (nearest,), (control,) = scores["nearest tokens"], scores["nearest tokens, shuffled labels"]
    assert nearest
    assert control
    assert nearest.accuracy == 1
    assert 0.3 < control.accuracy < 0.7


def test_a_prompt_that_does_not_fit_costs_its_own_cell(clips: LabeledClips) -> None:
    def short(column: Column) -> Method:
        def answer(clips: LabeledClips, episode: Episode) -> Reply:
            if column.repeats == 3:
                raise PromptTooLong(3000, 2048)
            return told(column)(clips, episode)

        return answer

    experiment = run(Experiment(clips, PROMPTS, {"model": short}, count=10, seed=1))
    scores = experiment.scores()["model"]
    assert [score is None for score in scores] == [False, False, False, False, True]
    assert {job.column.repeats for job in experiment.too_long} == {3}


def test_a_language_model_is_shown_what_the_column_says(
    clips: LabeledClips, llama: FrozenLlama, vocabulary: Vocabulary, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[int] = []
    prefill: Callable[[FrozenLlama, list[int]], object] = FrozenLlama.prefill

    def counted(self: FrozenLlama, ids: list[int]) -> object:
        lengths.append(len(ids))
        return prefill(self, ids)

    monkeypatch.setattr(FrozenLlama, "prefill", counted)
    asked = few_shot(llama, vocabulary, FewShotSettings(window=4))
    experiment = Experiment(clips, PROMPTS, {"model": asked}, count=1, seed=1)
    jobs = [part for part in experiment.parts() if part[0][0].row == "model" and not part[0][0].shuffled]
    for part in jobs:
        experiment.ask(part)
    without, once, three_shots, thrice, four_times = lengths
    assert without < once < thrice < four_times
    assert once < three_shots
    assert four_times - thrice == pytest.approx((thrice - once) / 2, abs=1)
