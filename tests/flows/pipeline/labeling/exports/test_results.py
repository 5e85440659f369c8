"""Exports: the current answers as files, and the same answers never twice."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from db.predictions import Answer, get_answers
from db.runs import RunClaim
from flows.pipeline.labeling import label
from flows.pipeline.labeling.exports import files as export
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.nights.plan import Planner
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import StorageDenied, Stored
from flows.pipeline.storage.local import LocalStorage
from flows.pipeline.storage.uris import file_path
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip


def night(runtime: Runtime, folder: Path, **request: Any) -> OpenRun:
    wanted = LabelRequest("sounds", **request)
    return run_night(runtime, partition_of(str(folder)), wanted, with_bar, kind="night", export=True).run


def test_equal_answers_are_exported_once_and_new_ones_again(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    first = night(runtime, folder)
    assert first.counts["export.rows"] == 1
    second = night(runtime, folder)
    assert (second.counts["export.rows"], second.counts["export.unchanged_rows"]) == (0, 1)
    assert second.manifest == first.manifest
    write_clip(folder / "b.wav", hiss(seed=6))
    third = night(runtime, folder)
    assert third.counts["export.rows"] == 2
    assert third.manifest != first.manifest


def test_the_manifest_names_files_that_hold_the_answers(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    for number in range(3):
        write_clip(folder / f"{number}.wav", tone(440 + number, seed=number))
    run = night(runtime, folder)
    assert run.manifest
    path = file_path(run.manifest)
    assert path.parent.name == str(run.id)
    named = json.loads(path.read_text())
    assert (named["num_rows"], named["run"]) == (3, str(run.id))
    parquet, jsonl = (path.parent / file["name"] for file in named["files"])
    table = pq.read_table(parquet).to_pylist()
    lines = [json.loads(line) for line in jsonl.read_text().splitlines()]
    assert [row["uri"] for row in table] == [row["uri"] for row in lines]
    assert [row["label"] for row in table] == ["tone"] * 3


def test_an_export_reads_few_answers_at_once_and_has_all_in_order(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    for number in range(5):
        write_clip(folder / f"{number}.wav", tone(440 + number, seed=number))
    read = list[int]()

    def counted(*arguments: Any) -> list[Answer]:
        read.append(len(answers := get_answers(*arguments)))
        return answers

    monkeypatch.setattr(label, "CLIPS_PER_QUERY", 2)
    monkeypatch.setattr(label, "get_answers", counted)
    run = night(runtime, folder)
    assert run.manifest
    [table] = file_path(run.manifest).parent.glob("*.parquet")
    names = [row["uri"].rpartition("/")[2] for row in pq.read_table(table).to_pylist()]
    assert names == [f"{number}.wav" for number in range(5)]
    assert max(read) == 2


def test_an_export_holds_the_answers_that_were_asked_for_not_whatever_came_later(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    first = night(runtime, folder)
    later = LabelRequest("sounds", k_shot=1)
    run_night(runtime, partition_of(str(folder)), later, with_bar, kind="label", export=False)
    again = night(runtime, folder)
    assert (again.counts["export.unchanged_rows"], again.manifest) == (1, first.manifest)


def test_another_place_for_results_gets_its_own_export(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, tmp_path: Path
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    night(runtime, folder)
    elsewhere = Runtime(runtime.settings.model_copy(update={"storage_uri": str(tmp_path / "elsewhere")}))
    try:
        run = night(elsewhere, folder)
    finally:
        elsewhere.close()
    assert run.counts["export.rows"] == 1
    assert run.manifest
    assert file_path(run.manifest).is_relative_to(tmp_path / "elsewhere")


def test_the_status_follows_the_bound_that_is_asked_now(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    night(runtime, folder)
    run = night(runtime, folder, min_margin=1.0)
    assert run.manifest
    [jsonl] = file_path(run.manifest).parent.glob("labels-*.jsonl")
    lines = jsonl.read_text().splitlines()
    assert [json.loads(line)["status"] for line in lines] == ["uncertain"]
    assert rows(runtime.engine, "SELECT status FROM analytics.labels") == [("uncertain",)]
    assert run.counts["label.labeled"] == 0


def test_no_transaction_waits_while_files_are_uploaded(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    question, waiting = "SELECT pid FROM pg_stat_activity WHERE state ~ 'in transaction'", []
    write = LocalStorage.write

    def slow(self: LocalStorage, key: str, data: bytes | Path) -> Stored:
        waiting.extend(rows(runtime.engine, question))
        return write(self, key, data)

    monkeypatch.setattr(LocalStorage, "write", slow)
    assert night(runtime, folder).counts["export.rows"] == 1
    assert waiting == []


@pytest.mark.parametrize("lost", ["*", "manifest.json", "*.parquet", "*.jsonl"])
@pytest.mark.parametrize("changed", [False, True])
def test_files_that_were_lost_or_changed_are_written_again_where_they_were(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, lost: str, *, changed: bool
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    first = night(runtime, folder)
    assert first.manifest
    place = file_path(first.manifest).parent
    before = {path: path.read_bytes() for path in place.iterdir()}
    for path in place.glob(lost):
        path.unlink()
        if changed:
            path.write_bytes(b"other")
    planned = Planner(Labelings(runtime, LabelRequest("sounds"))).plan(partition_of(str(folder)))
    assert (planned.due, planned.is_done) == (0, False)
    second = night(runtime, folder)
    assert (second.counts["export.rows"], second.manifest) == (1, first.manifest)
    assert {path: path.read_bytes() for path in place.iterdir()} == before
    third = night(runtime, folder)
    assert (third.counts["export.rows"], third.counts["export.unchanged_rows"]) == (0, 1)


def test_files_whose_bytes_came_out_otherwise_are_written_and_recorded(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    first = night(runtime, folder)
    assert first.manifest
    file_path(first.manifest).unlink()
    line = export._line
    monkeypatch.setattr(export, "_line", lambda record: line(record) + b"\n")  # as another library might
    assert night(runtime, folder).counts["export.rows"] == 1
    assert night(runtime, folder).counts["export.unchanged_rows"] == 1


def test_whoever_may_not_look_at_results_believes_that_they_are_there(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    night(runtime, folder)

    def denied(self: LocalStorage, uri: str) -> Stored:
        raise StorageDenied(uri)

    monkeypatch.setattr(LocalStorage, "describe", denied)
    assert night(runtime, folder).counts["export.unchanged_rows"] == 1


def test_an_export_whose_answers_were_lost_is_found_again_by_the_next_night(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(440, seed=5))
    write = LocalStorage.write

    def lose_answer(self: LocalStorage, key: str, data: bytes | Path) -> Stored:
        stored = write(self, key, data)
        if key.endswith("manifest.json"):
            raise ValueError("the answer was lost")
        return stored

    with monkeypatch.context() as broken:
        broken.setattr(LocalStorage, "write", lose_answer)
        with pytest.raises(ValueError, match="lost"):
            night(runtime, folder)
    [(failed, completed)] = rows(runtime.engine, "SELECT uri, completed_at FROM exports")
    assert completed is None
    assert file_path(failed).is_file()
    second = night(runtime, folder)
    assert (second.counts["export.rows"], second.manifest) == (1, failed)
    assert night(runtime, folder).counts["export.unchanged_rows"] == 1
    assert len(rows(runtime.engine, "SELECT FROM exports WHERE completed_at IS NOT NULL")) == 1
