"""Clips that may have several labels: one yes or no for each label, by the machinery of one label."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.decoding.audio_stream import Samples
from core.errors import PromptError
from db.engine import session_scope
from db.predictions import current_multi_labels
from flows.pipeline.files.lake import LakeFile
from flows.pipeline.labeling.canary import CanaryRequest
from flows.pipeline.labeling.exports.results import is_exported
from flows.pipeline.labeling.exports.row import LabelsRow
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.report import json_rows, table_lines
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.maintenance.verify import verify
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.plan import Planner
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip

SOUNDS = {"hiss": lambda seed: hiss(seed=seed), "low": lambda seed: tone(220, seed=seed)}
HEARD: Mapping[str, list[str]] = {"both": ["hiss", "low"], "hiss": ["hiss"], "low": ["low"], "none": []}


def made(labels: Sequence[str], seed: int) -> Samples:
    """A sound that has these labels; a high tone has none."""
    parts = [SOUNDS[label](seed) for label in labels] or [tone(3000, seed=seed)]
    mixed: Samples = (np.sum(parts, axis=0) / len(parts)).astype(np.float32)
    return mixed


@pytest.fixture
def folder(folder: Path) -> Path:
    """Three clips of each combination of labels in the library, and one to label."""
    for name, labels in HEARD.items():
        write_clip(folder / f"{name}.wav", made(labels, 90))
    return folder


@pytest.fixture
def shown(tmp_path: Path) -> dict[str, list[str]]:
    """The clips to show, by name."""
    clips = {f"{name}-{seed}.wav": labels for seed in range(3) for name, labels in HEARD.items()}
    for name, labels in clips.items():
        write_clip(tmp_path / "library" / name, made(labels, int(name[-5])))
    return clips


@pytest.fixture
def library(runtime: Runtime, tmp_path: Path, shown: Mapping[str, list[str]]) -> str:
    lines = [json.dumps({"path": name, "labels": labels}) for name, labels in shown.items()]
    manifest = tmp_path / "library" / "rows.jsonl"
    manifest.write_text("\n".join(lines) + "\n")
    return import_manifest(runtime, "sounds", str(manifest), "label")[0].name


def night(runtime: Runtime, folder: Path, library: str, *, export: bool = False, **request: Any) -> Night:
    asked = LabelRequest(library, **request)
    kind = "nightly-labeling" if export else "label"
    return run_night(runtime, partition_of(str(folder)), asked, with_bar, kind=kind, export=export)


def by_hand(runtime: Runtime, folder: Path, shown: Mapping[str, list[str]], label: str) -> str:
    """The library of one label, as somebody would write its manifest."""
    answers = {name: label if label in labels else f"not {label}" for name, labels in shown.items()}
    manifest = folder / f"{label}.jsonl"
    manifest.write_text("".join(json.dumps({"path": n, "label": a}) + "\n" for n, a in answers.items()))
    return import_manifest(runtime, f"by-hand-{label}", str(manifest), "label")[0].name


ROWS = "SELECT count(*), max(id), count(retracted_by_run) FROM predictions"


@pytest.mark.parametrize("labeler", ["auto", "nearest-neighbour"])
def test_each_label_is_answered_as_by_the_library_made_by_hand(
    runtime: Runtime, folder: Path, tmp_path: Path, shown: dict[str, list[str]], library: str, labeler: str
) -> None:
    together = list(json_rows(night(runtime, folder, library, labeler=labeler).answers))
    for label in SOUNDS:
        name = by_hand(runtime, tmp_path / "library", shown, label)
        alone = list(json_rows(night(runtime, folder, name, labeler=labeler).answers))
        for row, one in zip(together, alone, strict=True):
            found: dict[str, float] = row["probabilities"]  # type: ignore[assignment]
            says = found[label] if one["label"] == label else 1 - found[label]
            assert one["probability"] == pytest.approx(says, abs=1e-12)


def test_a_clip_has_none_one_or_several_labels(runtime: Runtime, folder: Path, library: str) -> None:
    (folder / "broken.wav").write_bytes(b"junk")
    answers = night(runtime, folder, library).answers
    found = {Path(str(row["uri"])).stem: row for row in json_rows(answers)}
    assert list(found) == ["both", "broken", "hiss", "low", "none"]
    assert {name: row["labels"] for name, row in found.items()} == {**HEARD, "broken": None}
    assert found["broken"]["status"] == "quarantined"
    assert found["broken"]["reason"] == "unsupported"
    assert list(found["both"]["labelers"]) == ["hiss", "low"]  # type: ignore[call-overload]
    lines = list(table_lines(answers))
    assert lines[1].startswith("hiss; low ")
    assert lines[5].startswith("none of the labels")
    assert len(answers) == 5
    [first, *_] = answers.least_sure(2)
    assert first.uri.endswith("broken.wav")


def test_a_label_that_is_not_sure_enough_is_said_to_be_so(
    runtime: Runtime, folder: Path, library: str
) -> None:
    strict = night(runtime, folder, library, min_margin=1.0)
    for row in json_rows(strict.answers):
        assert (row["status"], row["uncertain"]) == ("uncertain", ["hiss", "low"])
    assert strict.summary.uncertain == strict.summary.answered == 4
    (folder / "none.wav").unlink()
    far = list(json_rows(night(runtime, folder, library, labeler="nearest latents", coverage=0.01).answers))
    for row in far:
        labels, unknown = row["labels"], row["unknown"]
        assert isinstance(labels, list)
        assert isinstance(unknown, list)
        assert {*labels}.isdisjoint(unknown)
    assert any(row["unknown"] for row in far)


def test_a_second_night_writes_nothing(runtime: Runtime, folder: Path, library: str) -> None:
    first = night(runtime, folder, library, export=True)
    before = rows(runtime.engine, ROWS)
    assert before[0][0] == 2 * len(HEARD)
    assert first.run.counts["label.labeled"] == len(HEARD)
    plan = Planner(Labelings(runtime, LabelRequest(library))).plan(partition_of(str(folder)))
    assert plan.is_done
    again = night(runtime, folder, library, export=True)
    assert rows(runtime.engine, ROWS) == before
    assert (again.run.counts["label.labeled"], again.run.manifest) == (0, first.run.manifest)


def test_a_night_that_has_one_label_only_does_the_others(
    runtime: Runtime, folder: Path, library: str
) -> None:
    night(runtime, folder, "sounds/low")
    before = rows(runtime.engine, "SELECT id FROM predictions ORDER BY id")
    done = night(runtime, folder, library)
    assert done.run.counts["label.labeled"] == len(HEARD)
    after = rows(runtime.engine, "SELECT id FROM predictions ORDER BY id")
    assert (len(before), after[: len(before)], len(after)) == (len(HEARD), before, 2 * len(HEARD))


def test_only_labels_whose_clips_changed_are_asked_again(
    runtime: Runtime, folder: Path, tmp_path: Path, library: str
) -> None:
    night(runtime, folder, library)
    manifest = tmp_path / "library" / "rows.jsonl"
    changed = manifest.read_text().replace('"none-2.wav", "labels": []', '"none-2.wav", "labels": ["low"]')
    manifest.write_text(changed)
    import_manifest(runtime, library, str(manifest), "label", promote=True)
    night(runtime, folder, library)
    asked = "SELECT d.name, d.version, count(*) FROM predictions p JOIN demonstration_sets d "
    asked += "ON d.id = p.demonstration_set_id GROUP BY 1, 2 ORDER BY 1, 2"
    assert rows(runtime.engine, asked) == [
        ("sounds/hiss", 1, len(HEARD)),
        ("sounds/low", 1, len(HEARD)),
        ("sounds/low", 2, len(HEARD)),
    ]


def test_an_export_has_the_labels_of_each_clip(
    runtime: Runtime, folder: Path, library: str, tmp_path: Path
) -> None:
    import pyarrow.parquet as pq

    done = night(runtime, folder, library, export=True)
    assert done.run.manifest
    results = Path(runtime.settings.storage_uri.removeprefix("file://"))
    place = results / "runs" / str(done.run.id)
    [lines] = place.glob("labels-*.jsonl")
    exported = [json.loads(line) for line in lines.read_text().splitlines()]
    assert {Path(row["uri"]).stem: row["labels"] for row in exported} == HEARD
    assert all(list(row["probabilities"]) == ["hiss", "low"] for row in exported)
    assert {(row["library"], row["version"]) for row in exported} == {("sounds", 1)}
    [parquet] = place.glob("labels-*.parquet")
    table = pq.read_table(parquet).to_pylist()
    assert [row["labels"] for row in table] == [row["labels"] for row in exported]
    assert [dict(row["probabilities"]) for row in table] == [row["probabilities"] for row in exported]
    rows_of = partial(done.labelings.rows, selection=done.selection)
    assert is_exported(runtime, rows_of)
    [(day,)] = rows(runtime.engine, "SELECT DISTINCT day FROM clips WHERE uri LIKE '%/clips/%'")
    assert (results / LakeFile("labels", day, "sounds/low").key).exists()
    assert "library=sounds%2Flow" in LakeFile("labels", day, "sounds/low").key


def test_an_undone_night_leaves_no_answer_of_any_label(runtime: Runtime, folder: Path, library: str) -> None:
    done = night(runtime, folder, library)
    undo(runtime, done.run.id)
    assert rows(runtime.engine, "SELECT count(*) FROM analytics.labels") == [(0,)]
    with session_scope(runtime.engine) as session:
        assert list(done.labelings.rows(session, done.selection)) == []
    assert night(runtime, folder, library).run.counts["label.labeled"] == len(HEARD)


def test_a_night_is_summed_up_by_clip_and_label(runtime: Runtime, folder: Path, library: str) -> None:
    summary = night(runtime, folder, library).summary
    assert summary.labels == {"hiss": 2, "low": 2, "none of the labels": 1}
    assert (summary.answered, summary.clips) == (4, 4)


def test_what_several_labels_cannot_do_is_refused(runtime: Runtime, folder: Path, library: str) -> None:
    with pytest.raises(PromptError, match="sounds@1 gives a clip several labels: ask for the events of one"):
        night(runtime, folder, library, events=True)
    canaries = CanaryRequest("sounds/low", 0.5)
    with pytest.raises(PromptError, match="library sounds gives a clip several labels"):
        run_night(
            runtime,
            partition_of(str(folder)),
            LabelRequest(library),
            with_bar,
            kind="label",
            export=False,
            canaries=canaries,
        )
    queued = run_night(
        runtime,
        partition_of(str(folder)),
        LabelRequest(library),
        with_bar,
        kind="label",
        export=False,
        reviews=5,
    )
    assert queued.run.counts["label.labeled"] == len(HEARD)
    assert rows(runtime.engine, "SELECT count(*) FROM review_queue") == [(0,)]


def test_what_was_answered_by_label_is_verified(runtime: Runtime, folder: Path, library: str) -> None:
    done = night(runtime, folder, library)
    checks = list(verify(runtime, done.run.id, sample=10))
    assert {check.verdict for check in checks} == {"ok"}


def test_analysts_see_a_row_a_clip_with_its_labels(
    runtime: Runtime, folder: Path, tmp_path: Path, library: str, shown: Mapping[str, list[str]]
) -> None:
    by_hand(runtime, tmp_path / "library", shown, "low")  # whose labels are no JSON
    done = night(runtime, folder, library)
    with session_scope(runtime.engine) as session:
        wanted = list(done.labelings.rows(session, done.selection))
        found = current_multi_labels(session, canonical(str(folder)), library)
        assert list(map(repr, wanted)) == [repr(LabelsRow(**row)) for row in found]
    by_label = "SELECT count(*), count(*) FILTER (WHERE label LIKE 'not %') FROM analytics.labels"
    assert rows(runtime.engine, by_label) == [(8, 4)]


def test_analysts_see_the_labels_of_the_version_in_use(
    runtime: Runtime, folder: Path, tmp_path: Path, library: str
) -> None:
    night(runtime, folder, library)
    manifest = tmp_path / "library" / "rows.jsonl"
    manifest.write_text(manifest.read_text().replace('"low"', '"deep"'))
    import_manifest(runtime, library, str(manifest), "label", promote=True)
    question = "SELECT version, labels, probabilities ? 'low' FROM analytics.multi_labels ORDER BY uri"
    assert rows(runtime.engine, question)[0] == (2, ["hiss"], False)
    night(runtime, folder, library)
    assert rows(runtime.engine, question)[0] == (2, ["deep", "hiss"], False)
