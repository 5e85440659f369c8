"""Who answers: the labeler that a request names, or the one that is chosen for the library version."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text

from core.errors import PromptError
from db.engine import session_scope
from db.labeler_choices import add_choice, current_choice
from db.runs import RunClaim
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.labelers.answering import named_choice
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.plan import Planner
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import canonical
from migrations.upgrade import downgrade, upgrade
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> str:
    return build_library(runtime, "sounds", str(manifest), "label", run_id).name


@pytest.fixture
def place(folder: Path) -> str:
    for number in range(2):
        write_clip(folder / f"hiss-{number}.wav", hiss(seed=20 + number))
        write_clip(folder / f"tone-{number}.wav", tone(500 + 50 * number, seed=30 + number))
    return canonical(str(folder))


@pytest.fixture
def unnamed(settings: Settings) -> Iterator[Runtime]:
    """A service whose user named no LLM, and another codec than the preset's, so that none is the default."""
    fields = {name: getattr(settings, name) for name in settings.model_fields_set - {"llm"}}
    runtime = Runtime(
        Settings.model_construct(**settings.model_dump() | {"llm": None}, _fields_set=set(fields))
    )
    yield runtime
    runtime.close()


def night(runtime: Runtime, place: str, library: str, **request: Any) -> Night:
    wanted = LabelRequest(library, **request)
    return run_night(runtime, partition_of(place), wanted, with_bar, kind="label", export=False)


def stored_labelers(runtime: Runtime) -> Counter[str]:
    return Counter(str(name) for (name,) in rows(runtime.engine, "SELECT labeler FROM predictions"))


def current(runtime: Runtime, column: str = "labeler") -> set[object]:
    """The values of a column of current answers, which both views choose alike."""
    answers = (
        "SELECT h.labeler FROM analytics.least_sure JOIN analytics.history h USING (answer) ORDER BY uri"
    )
    labels = "SELECT labeler FROM analytics.labels WHERE missing_since IS NULL ORDER BY uri"
    assert rows(runtime.engine, answers) == rows(runtime.engine, labels)
    return {value for (value,) in rows(runtime.engine, f"SELECT {column} FROM analytics.labels")}


def choose(runtime: Runtime, library: str, labeler: str) -> None:
    """What a person chooses, with the calibration that was measured."""
    models = Labeling(runtime, LabelRequest(library)).setup.answering.models
    with session_scope(runtime.engine) as session:
        known = current_choice(session, models)
        measured = known.measured if known else None
        add_choice(session, models, named_choice(labeler, measured, "tried", "person"))


def test_the_first_night_chooses_a_labeler_and_its_answers_are_calibrated(
    unnamed: Runtime, place: str, library: str
) -> None:
    done = night(unnamed, place, library)
    chosen = done.labeling.setup.answering.choice
    assert chosen
    assert chosen.chosen_by == "run"
    assert chosen.calibration
    assert chosen.measured
    assert {row["name"] for row in chosen.measured["candidates"]} >= {"mixture", "nearest tokens"}
    for clip in done.answers:
        answer = clip.answer
        assert answer
        assert answer.raw_probabilities
        assert answer.labeler == chosen.labeler
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert sum(answer.raw_probabilities.values()) == pytest.approx(1)
        assert {"chance", "majority", "nearest", "nearest_latent"} <= answer.baselines.keys()
        said = answer.baselines["labelers"]
        assert said.keys() >= {"nearest tokens", "nearest latents", "logistic log-mel", "mixture"}
        assert said[chosen.labeler] == {
            "label": answer.label,
            "probability": pytest.approx(answer.probability),
        }
    assert current(unnamed, "is_chosen") == {True}


def test_a_second_night_chooses_nothing_and_writes_nothing(
    unnamed: Runtime, place: str, library: str
) -> None:
    night(unnamed, place, library)
    tables = ("labeler_choices", "predictions", "embeddings", "token_sequences", "pooled_latents")
    before = [rows(unnamed.engine, f"SELECT * FROM {table}") for table in tables]
    labelings = Labelings(unnamed, LabelRequest(library))
    assert Planner(labelings).plan(partition_of(place)).due == 0
    again = night(unnamed, place, library)
    assert not again.run.counts["label.labeled"] + again.run.counts["tokenize.tokenized"]
    assert [rows(unnamed.engine, f"SELECT * FROM {table}") for table in tables] == before


def test_a_choice_selects_among_stored_answers_and_back_again_nothing_is_computed(
    unnamed: Runtime, place: str, library: str
) -> None:
    first = night(unnamed, place, library).labeling.setup.answering.method
    before = rows(unnamed.engine, "SELECT uri, label, probabilities FROM analytics.labels ORDER BY uri")
    other = "nearest latents" if first != "nearest latents" else "nearest tokens"
    choose(unnamed, library, other)
    assert current(unnamed) == {first}, "until the new labeler has answered, the old answers stay"
    assert night(unnamed, place, library).run.counts["label.labeled"] == 4
    assert current(unnamed) == {other}
    choose(unnamed, library, first)
    assert current(unnamed) == {first}
    assert night(unnamed, place, library).run.counts["label.labeled"] == 0
    assert (
        rows(unnamed.engine, "SELECT uri, label, probabilities FROM analytics.labels ORDER BY uri") == before
    )
    choose(unnamed, library, other)
    assert night(unnamed, place, library).run.counts["label.labeled"] == 0
    assert current(unnamed) == {other}
    assert stored_labelers(unnamed) == {first: 4, other: 4}


def test_trying_another_labeler_leaves_the_current_answers(
    unnamed: Runtime, place: str, library: str
) -> None:
    first = night(unnamed, place, library).labeling.setup.answering.method
    tried = night(unnamed, place, library, labeler="class mean log-mel")
    assert {clip.answer.labeler for clip in tried.answers if clip.answer} == {"class mean log-mel"}
    assert {clip.answer.raw_probabilities for clip in tried.answers if clip.answer} == {None}
    assert current(unnamed) == {first}


def test_a_library_from_before_keeps_its_labeler_and_its_work_keys(
    runtime: Runtime, unnamed: Runtime, database: Database, place: str, library: str
) -> None:
    night(runtime, place, library)
    question = "SELECT work_key FROM predictions ORDER BY work_key"
    keys = rows(runtime.engine, question)
    downgrade(database.url("owner"), "20261130_explorer")
    upgrade(database.url("owner"))
    done = night(unnamed, place, library)
    assert done.run.counts["label.labeled"] + done.run.counts["tokenize.tokenized"] == 0
    assert done.labeling.setup.answering.method == "nearest-neighbour"
    assert rows(runtime.engine, question) == keys
    assert rows(runtime.engine, "SELECT labeler, chosen_by FROM labeler_choices") == [
        ("nearest-neighbour", "upgrade")
    ]


def test_where_the_user_names_an_llm_or_none_the_default_is_as_before(
    runtime: Runtime, place: str, library: str
) -> None:
    assert runtime.settings.names_llm
    assert night(runtime, place, library).labeling.setup.answering.method == "nearest-neighbour"
    assert rows(runtime.engine, "SELECT * FROM labeler_choices") == []
    choose(runtime, library, "nearest latents")
    assert Labeling(runtime, LabelRequest(library)).setup.answering.method == "nearest latents"


def test_a_plain_night_reads_no_clip_again_for_what_other_labelers_compare(
    runtime: Runtime, database: Database, place: str, library: str
) -> None:
    owner = create_engine(database.url("owner"), poolclass=NullPool)
    night(runtime, place, library)
    with owner.begin() as connection:
        connection.execute(text("DELETE FROM embeddings"))
    assert night(runtime, place, library).run.counts["tokenize.tokenized"] == 0
    assert night(runtime, place, library, labeler="nearest latents").run.counts["tokenize.tokenized"] == 0
    assert night(runtime, place, library, labeler="mixture").run.counts["tokenize.tokenized"] == 4


@pytest.mark.parametrize(
    ("labeler", "why"),
    [
        ("few-shot", "asks an LLM"),
        ("class mean yamnet", "yamnet, which is not installed"),
        ("best", "there is no labeler 'best'"),
    ],
)
def test_a_labeler_that_cannot_answer_is_refused_with_the_remedy(
    runtime: Runtime, place: str, library: str, labeler: str, why: str
) -> None:
    with pytest.raises(PromptError, match=why):
        night(runtime, place, library, labeler=labeler)


def test_a_clip_farther_than_the_bound_is_unknown_and_another_bound_computes_nothing(
    unnamed: Runtime, place: str, library: str
) -> None:
    night(unnamed, place, library)
    strict = night(unnamed, place, library, coverage=0.01)
    assert (bound := strict.labeling.setup.comparison.bound)
    statuses = {clip.uri: clip.status for clip in strict.answers}
    assert set(statuses.values()) == {"labeled", "unknown"}
    for clip in strict.answers:
        assert clip.answer
        assert clip.answer.distance is not None
        assert (clip.status == "unknown") == (clip.answer.distance > bound.distance)
    assert dict(rows(unnamed.engine, "SELECT uri, status FROM analytics.labels")) == statuses
    off = night(unnamed, place, library, coverage=0.0)
    assert strict.run.counts["label.labeled"] + off.run.counts["label.labeled"] == 0
    assert {clip.status for clip in off.answers} == {"labeled"} == current(unnamed, "status")
