import json
from collections.abc import Sequence

import numpy as np
import pytest

from core.errors import PromptError
from core.in_context.baselines import FloatArray
from core.in_context.choosing import (
    Choice,
    Demonstration,
    Installed,
    answer_by,
    build_labelers,
    choose,
    with_mixtures,
)
from core.in_context.features import ClipFeatures
from tests.core.made_libraries import CLASSES, make_clip, make_library

LABELS = ("bell", "dog", "rain")
TAGGER = Installed(("tagger",), {"tagger": CLASSES})


class Oracle:
    """An LLM that knows the label of every clip, and counts how often it is built and asked."""

    built = 0

    def __init__(self, labels: Sequence[str], demonstrations: Sequence[Demonstration]) -> None:
        Oracle.built += 1
        self._labels = labels

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        best = [int(query.vectors["log-mel"].argmax()) for query in queries]
        return 0.9 * np.eye(len(self._labels))[best] + 0.1 / len(self._labels)


def test_with_one_demonstration_of_each_label_the_dev_sets_decide() -> None:
    library = make_library(LABELS, 1)
    assert choose(library, Installed()).name == "mixture"
    chosen = choose(library, TAGGER)
    assert chosen.name == "class mean tagger"
    assert "dev sets" in chosen.reason
    assert chosen.chosen.accuracy is None


def test_a_few_equal_answers_do_not_overturn_the_tagger() -> None:
    library = make_library(LABELS[:2], 3, latents=0.05, tagger=0.05)
    chosen = choose(library, TAGGER)
    assert chosen.candidate("mixture").accuracy == chosen.candidate("class mean tagger").accuracy == 1
    assert chosen.name == "class mean tagger"


def test_what_answers_left_out_demonstrations_best_is_chosen() -> None:
    blind_tagger = make_library(LABELS, 15, tagger=3.0)
    assert "tagger" not in choose(blind_tagger, TAGGER).name
    only_tagger = make_library(LABELS, 15, latents=3.0, log_mel=3.0)
    assert choose(only_tagger, TAGGER).name.endswith(" tagger")


def test_a_choice_is_the_same_again_and_after_json() -> None:
    library = make_library(LABELS, 4)
    chosen = choose(library, TAGGER)
    assert choose(library, TAGGER) == chosen
    assert Choice.from_json(json.loads(json.dumps(chosen.as_json()))) == chosen
    assert chosen.candidates[0].name == chosen.name


def test_every_labeler_in_the_table_can_answer_and_is_calibrated() -> None:
    library = make_library(LABELS, 12, latents=0.8)
    chosen = choose(library, TAGGER)
    names = [one.name for one in chosen.candidates if not one.name.startswith("mixture")]
    queries = [make_clip(number, 99) for number in (0, 1, 2, 0)]
    built = build_labelers(names, LABELS, library, TAGGER)
    answers = {name: labeler.probabilities(queries) for name, labeler in built.items()}
    mixed = with_mixtures(answers, TAGGER.embeddings)
    assert set(mixed) == {one.name for one in chosen.candidates}
    for name, probabilities in mixed.items():
        calibrated = chosen.calibrated(name, probabilities)
        np.testing.assert_allclose(calibrated.sum(axis=1), 1)
        assert len(chosen.candidate(name).calibration.bias) == 3


def test_clips_without_latents_are_answered_by_what_there_is() -> None:
    def bare(one: Demonstration) -> Demonstration:
        codes = one.features.codes
        return Demonstration(ClipFeatures(type(codes)(codes.layers, codes.levels)), one.label)

    chosen = choose([bare(one) for one in make_library(LABELS, 3)], Installed())
    assert [one.name for one in chosen.candidates] == ["nearest tokens"]
    assert chosen.unknown is None


def test_an_llm_is_left_out_only_where_it_reads_few_prompts() -> None:
    library, with_llm = make_library(LABELS, 4, log_mel=0.1), Installed(few_shot=Oracle)
    Oracle.built = 0
    asked = choose(library, with_llm, max_prompts=4)
    assert Oracle.built == 4
    assert asked.candidate("few-shot").accuracy == 1
    assert "4 prompts" in asked.candidate("few-shot").note
    not_asked = choose(library, with_llm, max_prompts=3)
    assert Oracle.built == 4
    for name in ("few-shot", "mixture with few-shot"):
        assert not_asked.candidate(name).accuracy is None
        assert "over 3" in not_asked.candidate(name).note


def test_one_label_is_no_library() -> None:
    with pytest.raises(PromptError, match="at least 2 labels"):
        choose(make_library(("dog",), 3), Installed())


@pytest.mark.parametrize("names", [("latents",), ("log-mel",), ("joined",), ("tagger", "tagger")])
def test_an_embedding_cannot_have_a_name_that_is_taken(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="are taken"):
        Installed(names)


BOTH = Installed(("tagger", "voice"), TAGGER.taggers)


def with_voice(one: Demonstration) -> Demonstration:
    """A demonstration with a second embedding, of the same directions."""
    vectors = {**one.features.vectors, "voice": one.features.vectors["tagger"] * 1000}
    return Demonstration(ClipFeatures(one.features.codes, vectors, one.features.scores), one.label)


def test_beside_another_embedding_the_bound_of_unknown_clips_is_not_a_taggers() -> None:
    library = [with_voice(one) for one in make_library(LABELS, 1)]
    alone, beside = choose(library, TAGGER).unknown, choose(library, BOTH).unknown
    assert alone
    assert beside
    assert beside.representation.embeddings == ("tagger", "voice")
    assert beside.distance > alone.distance


def test_several_embeddings_are_joined_and_their_class_mean_goes_first() -> None:
    library, both = [with_voice(one) for one in make_library(LABELS, 1)], BOTH
    chosen = choose(library, both)
    assert chosen.name == "class mean joined"
    joined, tagger = (
        answer_by(name, LABELS, library, both, [library[1].features], [])
        for name in ("class mean joined", "class mean tagger")
    )
    np.testing.assert_allclose(joined, tagger)
