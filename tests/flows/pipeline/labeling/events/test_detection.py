"""Events of clips that are made by rule, heard with tiny models from the folder to the files."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import numpy as np
import pytest
from click.testing import CliRunner
from sqlalchemy import NullPool, create_engine

from core.errors import PromptError
from db.runs import RunClaim
from flows.cli.labeling.labels import events as print_events
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.maintenance.verify import verify
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.plan import Planner
from flows.pipeline.runs.check import Check
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import RATE, hiss, rows, tone, write_clip, write_manifest
from tests.tiny_tagger import write_bands_model, write_tagger

REQUEST = LabelRequest("sounds", labeler="class mean tiny-bands", events=True)
SILENCE = np.zeros(RATE // 2, np.float32)

TAKES = {
    "hiss": [hiss(1.0, 1), hiss(1.0, 2)],
    "tone": [tone(450, 1.0, 3), tone(650, 1.0, 4)],
    "whistle": [tone(3_000, 1.0, 5), tone(3_200, 1.0, 6)],
}
SOUNDS = {"hiss": hiss(1.0, 21), "tone": tone(550, 1.0, 22), "whistle": tone(3_100, 1.0, 23)}


@pytest.fixture
def tagging(settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    """The service with two models, one of which tells these sounds apart."""
    bands, tagger = write_bands_model(tmp_path / "bands"), write_tagger(tmp_path / "tagger")
    runtime = Runtime(settings.model_copy(update={"embeddings": (str(bands), str(tagger))}))
    yield runtime
    runtime.close()


@pytest.fixture
def library(tagging: Runtime, tmp_path: Path, run_id: RunClaim) -> str:
    manifest = write_manifest(tmp_path / "library", TAKES)
    return build_library(tagging, "sounds", str(manifest), "label", run_id).name


@pytest.fixture
def joined(folder: Path) -> Path:
    """One after the other, with half a second of silence around each."""
    parts = [part for sound in SOUNDS.values() for part in (SILENCE, sound)]
    return write_clip(folder / "joined.wav", np.concatenate([*parts, SILENCE]))


def night(runtime: Runtime, folder: Path, request: LabelRequest = REQUEST, *, export: bool = False) -> Night:
    return run_night(runtime, partition_of(str(folder)), request, with_bar, kind="label", export=export)


def heard(runtime: Runtime) -> list[tuple[str, float, float]]:
    question = "SELECT label, start_s, end_s FROM analytics.events ORDER BY start_s, label"
    return [(str(label), float(start), float(end)) for label, start, end in rows(runtime.engine, question)]


def print_as(form: str, clip: Path) -> str:
    """What the command prints."""
    arguments = [str(clip), "--library", "sounds", "--format", form]
    return CliRunner().invoke(print_events, arguments, catch_exceptions=False).output


def frame_f1(events: list[tuple[str, float, float]]) -> float:
    """The F1 over frames of a tenth of a second and labels."""
    truth = {
        (label, frame)
        for number, label in enumerate(SOUNDS)
        for frame in range(15 * number + 5, 15 * number + 15)
    }
    found = {
        (label, frame) for label, start, end in events for frame in range(round(10 * start), round(10 * end))
    }
    return 2 * len(found & truth) / (len(found) + len(truth))


@pytest.mark.usefixtures("library", "joined")
def test_three_known_sounds_are_heard_where_they_are(tagging: Runtime, folder: Path) -> None:
    night(tagging, folder)
    assert {label for label, _, _ in heard(tagging)} == set(SOUNDS)
    assert frame_f1(heard(tagging)) >= 0.75


@pytest.mark.usefixtures("library", "joined")
def test_a_second_night_hears_nothing_again_and_a_plan_finds_nothing_due(
    tagging: Runtime, folder: Path
) -> None:
    assert night(tagging, folder).run.counts["label.heard"] == 1
    tables = ("event_sets", "events", "window_embeddings", "predictions", "embeddings")
    before = [rows(tagging.engine, f"SELECT * FROM {table}") for table in tables]
    assert Planner(Labelings(tagging, REQUEST)).plan(partition_of(str(folder))).due == 0
    again = night(tagging, folder)
    assert again.run.counts["label.heard"] + again.run.counts["tokenize.tokenized"] == 0
    assert [rows(tagging.engine, f"SELECT * FROM {table}") for table in tables] == before


@pytest.mark.usefixtures("library", "joined")
def test_a_night_need_not_read_what_only_the_import_could(tagging: Runtime, folder: Path) -> None:
    narrow = Runtime(tagging.settings.model_copy(update={"read_roots": (str(folder),)}))
    night(narrow, folder)
    narrow.close()
    assert {label for label, _, _ in heard(tagging)} == set(SOUNDS)


@pytest.mark.usefixtures("library", "joined")
def test_clips_labeled_before_are_read_again_once_and_keep_their_answers(
    tagging: Runtime, folder: Path
) -> None:
    before = rows(tagging.engine, "SELECT * FROM window_embeddings")
    night(tagging, folder, replace(REQUEST, events=False))
    assert rows(tagging.engine, "SELECT * FROM window_embeddings") == before
    kept = rows(tagging.engine, "SELECT * FROM predictions")
    assert Planner(Labelings(tagging, REQUEST)).plan(partition_of(str(folder))).due == 1
    counts = night(tagging, folder).run.counts
    assert (counts["tokenize.tokenized"], counts["label.labeled"], counts["label.heard"]) == (1, 0, 1)
    assert rows(tagging.engine, "SELECT * FROM predictions") == kept
    assert heard(tagging)


@pytest.mark.usefixtures("library", "joined")
def test_a_tagger_hears_by_the_names_of_its_classes_without_reading_a_clip_again(
    tagging: Runtime, folder: Path
) -> None:
    night(tagging, folder, replace(REQUEST, events=False))
    counts = night(tagging, folder, replace(REQUEST, labeler="zero-shot tiny-tagger")).run.counts
    assert (counts["tokenize.tokenized"], counts["label.heard"]) == (0, 1)
    assert rows(tagging.engine, "SELECT labeler FROM event_sets") == [("zero-shot tiny-tagger",)]


@pytest.mark.usefixtures("library", "joined")
def test_undoing_a_run_takes_its_events_back_and_undoing_that_restores_them(
    tagging: Runtime, folder: Path
) -> None:
    run = night(tagging, folder).run
    before = heard(tagging)
    undone = undo(tagging, run.id)
    assert heard(tagging) == []
    undo(tagging, undone.id)
    assert heard(tagging) == before


@pytest.mark.usefixtures("library")
def test_files_lie_beside_the_results_and_a_command_prints_the_same(
    tagging: Runtime, folder: Path, joined: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = night(tagging, folder, export=True).run
    results = Path(tagging.settings.storage_uri.removeprefix("file://"))
    track, subtitles = sorted((results / "runs" / str(run.id) / "events").iterdir())
    labels = [label for label, _, _ in heard(tagging)]
    assert track.name.startswith("joined.wav-")
    assert [line.split("\t")[2] for line in track.read_text().splitlines()] == labels
    assert subtitles.read_text().count("-->") == len(labels)
    monkeypatch.setenv("WORDWAVE_HOME", str(tagging.settings.home))
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", database.url("writer"))
    assert print_as("audacity", joined) == track.read_text()
    assert print_as("webvtt", joined) == subtitles.read_text()
    assert [json.loads(line)["label"] for line in print_as("json", joined).splitlines()] == labels
    refused = CliRunner().invoke(print_events, [str(folder / "other.wav"), "--library", "sounds"])
    assert refused.exit_code == 1
    assert "wordwave label with --events finds them" in refused.output


@pytest.mark.usefixtures("library", "joined")
def test_a_labeler_that_compares_no_installed_embedding_lets_the_tagger_hear(
    tagging: Runtime, folder: Path
) -> None:
    night(tagging, folder, replace(REQUEST, labeler="nearest latents"))
    assert rows(tagging.engine, "SELECT labeler FROM event_sets") == [("class mean tiny-tagger",)]


@pytest.mark.usefixtures("library")
def test_events_without_an_embedding_model_are_refused_with_the_remedy(
    runtime: Runtime, folder: Path, joined: Path
) -> None:
    with pytest.raises(PromptError, match="WORDWAVE_EMBEDDINGS names none"):
        night(runtime, folder, replace(REQUEST, labeler="nearest latents"))


@pytest.mark.usefixtures("joined")
def test_a_demonstration_that_got_no_windows_and_is_gone_is_named(
    runtime: Runtime, tagging: Runtime, folder: Path, tmp_path: Path, run_id: RunClaim
) -> None:
    manifest = write_manifest(tmp_path / "library", TAKES)
    build_library(runtime, "sounds", str(manifest), "label", run_id)  # before there was a model
    (tmp_path / "library" / "tone-0.wav").unlink()
    with pytest.raises(PromptError, match=r"1 demonstrations of sounds@1 have no windows .*tone-0\.wav"):
        night(tagging, folder)


def verified(runtime: Runtime, run_id: UUID) -> dict[str, Check]:
    return {found.name: found for found in verify(runtime, run_id, sample=5)}


@pytest.mark.usefixtures("library", "joined")
def test_verifying_a_run_hears_its_clips_again_and_finds_a_changed_event(
    tagging: Runtime, folder: Path, database: Database
) -> None:
    run = night(tagging, folder).run
    found = verified(tagging, run.id)
    assert found["events"].passed
    assert "1 clips have the same events as stored" in found["events"].finding
    owner = create_engine(database.url("owner"), poolclass=NullPool)
    with owner.begin() as connection:
        connection.exec_driver_sql("UPDATE events SET end_s = end_s + 0.25 WHERE number = 0")
    changed = verified(tagging, run.id)["events"]
    assert not changed.passed
    assert "1 of 1 differ" in changed.finding


@pytest.mark.usefixtures("library", "joined")
def test_verifying_a_run_without_the_model_that_heard_says_so(
    runtime: Runtime, tagging: Runtime, folder: Path
) -> None:
    run = night(tagging, folder).run
    models = verified(runtime, run.id)["models"]
    assert not models.passed
    assert "heard with embedding models" in models.finding
