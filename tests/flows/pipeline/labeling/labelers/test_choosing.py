"""The choice of a labeler as people see and change it."""

from pathlib import Path

import pytest

from core.errors import PromptError
from db.runs import RunClaim
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelers.choosing import (
    answering_sentence,
    choice_lines,
    choose_labeler,
    stored_choice,
)
from flows.pipeline.labeling.library_review import named_library, review
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.libraries.library import build_library
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows

HISTORY = "SELECT labeler, chosen_by, measured IS NULL FROM labeler_choices ORDER BY id"


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> str:
    return build_library(runtime, "sounds", str(manifest), "label", run_id).name


def test_each_choice_is_a_row_and_the_last_one_counts(runtime: Runtime, library: str) -> None:
    assert stored_choice(runtime, library) is None
    plain, _ = choose_labeler(runtime, library, "nearest-neighbour")
    assert plain.calibration is None
    best, _ = choose_labeler(runtime, library, "auto")
    compared = stored_choice(runtime, library)
    assert compared
    named, _ = choose_labeler(runtime, f"{library}@1", "nearest latents")
    assert named.calibration
    assert named.measured == compared.measured
    assert rows(runtime.engine, HISTORY) == [
        ("nearest-neighbour", "person", True),
        (best.labeler, "run", False),
        ("nearest latents", "person", False),
    ]
    assert LabelingSetup(runtime, LabelRequest(library)).answering.method == "nearest latents"


def test_what_is_no_labeler_is_refused_and_nothing_is_chosen(runtime: Runtime, library: str) -> None:
    with pytest.raises(PromptError, match="there is no labeler 'psychic': there are few-shot"):
        choose_labeler(runtime, library, "psychic")
    assert rows(runtime.engine, HISTORY) == []


def test_people_and_analysts_see_the_same_table(runtime: Runtime, library: str) -> None:
    choice, _ = choose_labeler(runtime, library, "auto")
    sentence, _, head, *lines = choice_lines(choice)
    assert sentence.startswith(f"{choice.labeler} answers: ")
    assert head.split()[0] == "labeler"
    shown = [line.split("  ")[0] for line in lines[: lines.index("")]]
    question = "SELECT labeler FROM analytics.labelers WHERE is_current ORDER BY lead_bound DESC, labeler"
    assert sorted(shown) == sorted(str(name) for (name,) in rows(runtime.engine, question))
    assert shown[0] == choice.labeler
    (row,) = rows(
        runtime.engine,
        "SELECT library, version, chosen, accuracy, answers, temperature > 0, chosen_by"
        " FROM analytics.labelers WHERE labeler = chosen",
    )
    assert row[:3] == ("sounds", 1, choice.labeler)
    assert row[4:] == (4, True, "run")
    reviewed = review(runtime, named_library(runtime, library))
    assert reviewed.labelers[2:] == [head, *lines]


def test_a_sentence_says_why_a_labeler_answers(runtime: Runtime, settings: Settings, library: str) -> None:
    def sentence(labeler: str) -> str:
        return answering_sentence(LabelingSetup(runtime, LabelRequest(library, labeler=labeler)))

    assert sentence("default") == "nearest-neighbour answers: WORDWAVE_LLM decides"
    assert sentence("mixture") == "mixture answers: the request names it"
    assert sentence("auto") == "the first run that labels by it chooses a labeler"
    choose_labeler(runtime, library, "nearest latents")
    assert sentence("auto") == "nearest latents answers: a person chose nearest latents"
