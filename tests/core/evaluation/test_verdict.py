"""An evaluation in words: how often the product is right, who won, and what was taken for what."""

from collections.abc import Callable

import numpy as np
import pytest

from core.evaluation.episodes import Episode, LabeledClips
from core.evaluation.experiment import Experiment
from core.evaluation.layouts import Column
from core.evaluation.methods import Method, Reply, most_probable
from core.evaluation.verdict import confusion, confusion_rows, verdicts
from tests.core.evaluation.test_experiment import clip, run

ONE = (Column(2, 1),)


@pytest.fixture(scope="module")
def alike() -> LabeledClips:
    """Return four labels whose clips no baseline can tell apart."""
    generator = np.random.default_rng(0)
    codes = tuple(clip(0, generator) for _ in range(40))
    return LabeledClips(codes, tuple("abcd"[n % 4] for n in range(40)), tuple(map(str, range(40))))


@pytest.fixture(scope="module")
def apart() -> LabeledClips:
    """Return four labels with their own codes, which every baseline tells apart."""
    generator = np.random.default_rng(0)
    codes = tuple(clip(n % 4, generator) for n in range(40))
    return LabeledClips(codes, tuple("abcd"[n % 4] for n in range(40)), tuple(map(str, range(40))))


def saying(answer: Callable[[Episode], str]) -> Callable[[Column], Method]:
    def method(clips: LabeledClips, episode: Episode) -> Reply:
        said = answer(episode)
        return most_probable(np.array([float(label == said) for label in episode.label_set]))

    return lambda column: method


def right(episode: Episode) -> str:
    return episode.answer


def wrong(episode: Episode) -> str:
    return next(label for label in episode.label_set if label != episode.answer)


def asked(clips: LabeledClips, answer: Callable[[Episode], str]) -> Experiment:
    return run(Experiment(clips, ONE, {"model": saying(answer)}, count=80, seed=1))


def test_a_model_that_is_better_than_the_baselines_won(alike: LabeledClips) -> None:
    [(column, words)] = verdicts(asked(alike, right))
    assert column == 0
    assert words.startswith("model answered 100.0% of 80 questions right, about ")
    assert "guessing gets 50.0%. It won over the best baseline, " in words


def test_a_model_that_a_baseline_beats_lost(apart: LabeledClips) -> None:
    [(_, words)] = verdicts(asked(apart, wrong))
    assert "model answered 0.0% of 80 questions right" in words
    assert "It lost to a baseline that costs nothing, nearest tokens, 100.0%; " in words


def test_equals_have_no_winner(apart: LabeledClips) -> None:
    [(_, words)] = verdicts(asked(apart, right))
    assert "Neither it nor the best baseline won, " in words
    assert "the lead is +0.0 to +0.0 points" in words


def test_the_matrix_counts_every_question_once(apart: LabeledClips) -> None:
    counts = confusion(asked(apart, wrong), 0)
    assert sum(counts.values()) == 80
    assert all(gold != said for gold, said in counts)
    head, *rows = confusion_rows(counts)
    assert head == ["clip is", "answered a", "answered b", "answered c", "answered d"]
    assert [row[0] for row in rows] == list("abcd")
    assert [rows[n][n + 1] for n in range(4)] == ["0"] * 4


def test_of_many_labels_the_most_frequent_mistakes_are_listed() -> None:
    counts = {(f"label {n}", f"label {n}"): 9.0 for n in range(13)} | {("label 1", "label 2"): 2.0}
    assert list(confusion_rows(counts)) == [["clip is", "answered", "times"], ["label 1", "label 2", "2"]]
