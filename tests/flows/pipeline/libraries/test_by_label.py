"""Multi-label libraries: rows with all labels of a clip, and a library of yes and no for each label."""

import json
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from core.errors import PromptError
from db.engine import session_scope
from db.libraries import LibraryNotFound, LibraryVersion, get_library
from db.runs import RunClaim
from flows.pipeline.labeling.library_review import (
    difference_lines,
    named_library,
    put_into_use,
    review,
    review_lines,
)
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.libraries.by_label import MAX_LABELS, libraries_by_label
from flows.pipeline.libraries.library import build_library
from flows.pipeline.libraries.manifest import manifest_rows
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.reviews.choosing import queue_library
from flows.pipeline.reviews.learning import propose
from flows.pipeline.reviews.lint import lint
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip

NFC, NFD = unicodedata.normalize("NFC", "Vögel"), unicodedata.normalize("NFD", "Vögel")
ROWS = [("a.wav", ["hiss"]), ("b.wav", ["low", "hiss"]), ("c.wav", ["low"]), ("d.wav", [])]


@pytest.fixture
def clips(folder: Path) -> Path:
    """A hiss, a hiss with a low tone, a low tone, and a high one that has none of the labels."""
    mixed = ((hiss(seed=2) + tone(220, seed=3)) / 2).astype(np.float32)
    for name, samples in (
        ("a", hiss(seed=1)),
        ("b", mixed),
        ("c", tone(220, seed=4)),
        ("d", tone(2000, seed=5)),
    ):
        write_clip(folder / f"{name}.wav", samples)
    return folder


def write(folder: Path, pairs: Sequence[tuple[str, object]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps({"path": clip, "labels": labels}) + "\n" for clip, labels in pairs))
    return str(path)


def build(
    runtime: Runtime, run_id: RunClaim, manifest: str, *, name: str = "sounds", promote: bool = False
) -> LibraryVersion:
    return build_library(runtime, name, manifest, "label", run_id, promote=promote)


def by_label(runtime: Runtime, library: LibraryVersion) -> dict[str, LibraryVersion]:
    with session_scope(runtime.engine) as session:
        return libraries_by_label(session, library)


def in_use(runtime: Runtime) -> dict[str, int]:
    question = "SELECT DISTINCT ON (name) name, version FROM library_uses u JOIN demonstration_sets d ON "
    question += "d.id = u.demonstration_set_id ORDER BY name, u.id DESC"
    return dict(rows(runtime.engine, question))


def test_each_label_becomes_a_library_of_clips_with_it_and_without(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    library = build(runtime, run_id, write(clips, ROWS))
    assert (library.name, library.version, library.task) == ("sounds", 1, "labels")
    found = by_label(runtime, library)
    assert {label: [row.label for row in one.demonstrations] for label, one in found.items()} == {
        "hiss": ["hiss", "hiss", "not hiss", "not hiss"],
        "low": ["not low", "low", "low", "not low"],
    }
    assert [(one.name, one.version, one.task) for one in found.values()] == [
        ("sounds/hiss", 1, "label"),
        ("sounds/low", 1, "label"),
    ]
    assert in_use(runtime) == {"sounds": 1, "sounds/hiss": 1, "sounds/low": 1}


def test_a_table_separates_labels_by_semicolons_and_is_the_same_library(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    table = clips / "rows.csv"
    table.write_text("path,labels,note\na.wav,hiss,x\nb.wav, hiss ; low,\nc.wav,low,\nd.wav, ,\n")
    assert build(runtime, run_id, str(table)) == build(runtime, run_id, write(clips, ROWS))


def test_a_number_is_text_and_letters_are_composed(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    library = build(runtime, run_id, write(clips, [("a.wav", [1, NFD]), ("b.wav", [2.5]), ("c.wav", [])]))
    assert list(by_label(runtime, library)) == ["1", "2.5", NFC]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "b.wav", "label": "hiss"}', "line 2: label: this manifest has labels"),
        ('{"path": "b.wav", "label": "hiss", "labels": ["low"]}', "line 2: label: this manifest has labels"),
        ('{"path": "b.wav"}', "line 2: labels: Field required"),
        ('{"path": "b.wav", "labels": "hiss;low"}', "line 2: labels: .*valid list; found 'hiss;low'"),
        ('{"path": "b.wav", "labels": null}', "line 2: labels: .*valid list; found None"),
        ('{"path": "b.wav", "labels": [true]}', r"line 2: labels\.0: .*found True"),
        ('{"path": "b.wav", "labels": ["low", " "]}', r"line 2: labels\.1: .*at least 1"),
        ('{"path": "b.wav", "labels": ["low", " low"]}', "line 2: labels: 'low' is given more than once"),
        (json.dumps({"path": "b.wav", "labels": [NFC, NFD]}), "line 2: labels: .*more than once"),
        ('{"path": "b.wav", "labels": ["a@1"]}', r"line 2: labels\.0: .*no @"),
        ('{"path": "b.wav", "labels": ["a\\nb"]}', r"line 2: labels\.0: .*no line breaks"),
        (json.dumps({"path": "b.wav", "labels": ["x" * 197]}), r"line 2: labels\.0: .*at most 196"),
        ('{"path": "a.wav", "labels": ["low"]}', "lines 1 and 2 give one recording two answers"),
        ('{"path": "b.wav", "labels": ["hiss"]}', "every clip has the label 'hiss': add clips without it"),
    ],
)
def test_a_row_that_cannot_be_meant_is_named_and_nothing_is_made(
    runtime: Runtime, clips: Path, run_id: RunClaim, line: str, message: str
) -> None:
    manifest = write(clips, ROWS[:1])
    Path(manifest).write_text(f"{Path(manifest).read_text()}{line}\n")
    with pytest.raises(ManifestError, match=message):
        build(runtime, run_id, manifest)
    assert rows(runtime.engine, "SELECT count(*) FROM demonstration_sets") == [(0,)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("path,label,labels\na.wav,hiss,low\n", "line 2: label: this manifest has labels"),
        ("path,labels\na.wav,hiss;;low\n", r"line 2: labels\.1: .*at least 1"),
        ("path,labels\na.wav,hiss;\n", r"line 2: labels\.1: .*at least 1"),
        ("path,labels\na.wav,hiss;hiss\n", "line 2: labels: 'hiss' is given more than once"),
        ("path,labels\na.wav,hiss,low\n", "line 2 has 3 of 2 fields"),
        ("path,labels,Labels\na.wav,hiss,low\n", "column 'labels' more than once"),
        ("labels\nhiss\n", "no column path"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    runtime: Runtime, clips: Path, run_id: RunClaim, content: str, message: str
) -> None:
    (clips / "rows.csv").write_text(content)
    with pytest.raises(ManifestError, match=message):
        build(runtime, run_id, str(clips / "rows.csv"))


def test_labels_that_nothing_can_be_asked_of_are_refused(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    with pytest.raises(ManifestError, match="the clips have 0 labels, 1 to 100 are needed"):
        build(runtime, run_id, write(clips, [("a.wav", []), ("b.wav", [])]))
    many = [str(number) for number in range(MAX_LABELS + 1)]
    with pytest.raises(ManifestError, match="the clips have 101 labels"):
        build(runtime, run_id, write(clips, [("a.wav", many), ("b.wav", [])]))
    with pytest.raises(ManifestError, match=r"sounds/.* has 279 characters as the name of a folder.* 240"):
        build(runtime, run_id, write(clips, [("a.wav", ["あ" * 30]), ("b.wav", [])]))
    with pytest.raises(PromptError, match="'a ### b' is not a label"):
        build(runtime, run_id, write(clips, [("a.wav", ["a ### b"]), ("b.wav", [])]))


def test_a_label_whose_clips_stay_keeps_its_version(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    first = build(runtime, run_id, write(clips, ROWS))
    assert build(runtime, run_id, write(clips, [(clip, labels[::-1]) for clip, labels in ROWS])) == first
    second = build(runtime, run_id, write(clips, [*ROWS[:3], ("d.wav", ["high", "low"])]))
    versions = {label: one.version for label, one in by_label(runtime, second).items()}
    assert versions == {"high": 1, "hiss": 1, "low": 2}
    assert in_use(runtime) == {"sounds": 1, "sounds/hiss": 1, "sounds/low": 1, "sounds/high": 1}
    assert put_into_use(runtime, "sounds@2") == second
    assert in_use(runtime) == {"sounds": 2, "sounds/hiss": 1, "sounds/low": 2, "sounds/high": 1}


def test_a_promoted_version_puts_its_labels_into_use(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    build(runtime, run_id, write(clips, ROWS))
    build(runtime, run_id, write(clips, [*ROWS[:3], ("d.wav", ["low"])]), promote=True)
    assert in_use(runtime) == {"sounds": 2, "sounds/hiss": 1, "sounds/low": 2}


def test_a_library_may_have_one_label(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    library = build(runtime, run_id, write(clips, [("a.wav", ["hiss"]), ("d.wav", [])]))
    assert list(by_label(runtime, library)) == ["hiss"]


def test_versions_are_compared_shown_and_exported_by_label(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    first = build(runtime, run_id, write(clips, ROWS))
    second = build(runtime, run_id, write(clips, [*ROWS[1:3], ("d.wav", ["high"])]))
    lines = difference_lines(first, second)
    assert lines[0].endswith("0 clips added, 1 removed, 1 with another answer, 2 the same")
    assert f'another answer: [] to ["high"] (file://{clips}/d.wav)' in lines
    assert "new labels: high" in lines
    shown = list(review_lines(review(runtime, named_library(runtime, "sounds"))))
    assert "     2  hiss" in shown
    assert "     1  none of the labels" in shown
    assert any(
        "each label has a library of its own: sounds/hiss@1, sounds/low@1; of" in line for line in shown
    )
    rows_again = "".join(json.dumps(row) + "\n" for row in manifest_rows(first))
    (clips / "again.jsonl").write_text(rows_again)
    assert build(runtime, run_id, str(clips / "again.jsonl"), name="sounds") == first


def test_a_name_with_a_label_is_no_name_to_import(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    with pytest.raises(ManifestError, match="is not a library name"):
        build(runtime, run_id, write(clips, ROWS), name="sounds/hiss")
    build(runtime, run_id, write(clips, ROWS))
    assert named_library(runtime, "sounds/hiss@1").name == "sounds/hiss"
    with session_scope(runtime.engine) as session, pytest.raises(LibraryNotFound, match="did you mean"):
        get_library(session, "sounds/his")


def test_what_works_by_one_label_asks_for_its_name(runtime: Runtime, clips: Path, run_id: RunClaim) -> None:
    library = build(runtime, run_id, write(clips, ROWS))
    for refusing in (
        lambda: LabelingSetup(runtime, LabelRequest("sounds")),
        lambda: queue_library(runtime, "sounds"),
        lambda: propose(runtime, "sounds"),
        lambda: list(lint(runtime, library)),
    ):
        with pytest.raises(PromptError, match=r"several labels, and this is done for one .* as sounds/hiss"):
            refusing()
    with pytest.raises(ValueError, match="sounds/hiss is made of the manifest of sounds: add the decided"):
        propose(runtime, "sounds/hiss")
    assert queue_library(runtime, "sounds/hiss") == []
    assert [line for line in lint(runtime, by_label(runtime, library)["low"]) if "uneven" in line] == []
