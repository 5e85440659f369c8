"""What cannot be meant is refused by line and column, in manifests of every kind and in files of texts."""

import csv
import io
import json
import logging
import unicodedata
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.engine import session_scope
from db.libraries import get_library, import_library
from db.runs import RunClaim
from flows.pipeline.generation.texts import read_texts
from flows.pipeline.labeling.evaluation.labeled_manifest import LabeledManifest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.libraries.manifest import LabeledClipRow, read_manifest
from flows.pipeline.libraries.rows import FileRow, ManifestError, WrongRow, object_rows, table_rows
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip

HEADER = "path,label\n"
NFC, NFD = unicodedata.normalize("NFC", "Vögel"), unicodedata.normalize("NFD", "Vögel")


def read(runtime: Runtime, folder: Path, name: str, content: str | bytes) -> dict[int, LabeledClipRow]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_manifest(runtime, str(path), LabeledClipRow)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (f"{HEADER}a.wav,dog\nb.wav,dog, barking\n", r"line 3 has 3 of 2 fields.*'path', 'label': quote"),
        (f"{HEADER}a.wav\n", "line 2 has 1 of 2 fields"),
        (f"{HEADER}a.wav,dog,\n", "line 2 has 3 of 2 fields"),
        ('path,label,note\na.wav,"two\nlines",x\nb.wav,dog\n', "line 4 has 2 of 3 fields"),
        ("path,label,label\na.wav,dog,x\n", "column 'label' more than once: its first line names"),
        ("path,label,Label\na.wav,dog,x\n", "column 'label' more than once: its first line names"),
        ("path,label, label\na.wav,dog,x\n", "column 'label' more than once: its first line names"),
        ("path;label\na.wav;dog\n", "no column path and label: its first line names 'path;label'"),
        ("path\tlabel\na.wav\tdog\n", r"no column path and label: .*'path\\tlabel'.*commas"),
        ("Path, label\na.wav,dog\n", "no column path and label: .*'Path', ' label'"),
        ("sep=,\npath,label\na.wav,dog\n", "no column path and label: .*'sep=', ''"),
        ("a.wav,dog\nb.wav,cat\n", "no column path and label: .*'a.wav', 'dog'"),
        ("", "no column path and label: its first line names none"),
        (f'{HEADER}a.wav,"dog\nb.wav,cat\n', "is not a row of a table"),
        (f'{HEADER}a.wav,"dog" barking\n', "line 2 is not a row of a table"),
        (f"{HEADER}a.wav,{'x' * 201}\n", "line 2: label: .*at most 200.*found 'xxx"),
        (f"{HEADER}a.wav, \n", "line 2: label: .*at least 1"),
        (f"{HEADER}a.wav,dog\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused(
    runtime: Runtime, folder: Path, content: str | bytes, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        read(runtime, folder, "rows.csv", content)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"path": "a", "label": "dog", "label": "cat"}', "line 1 has the key 'label' more than once"),
        ('{"path": "a", "label": "dog", "more": {"x": 1, "x": 2}}', "line 1 has the key 'x' more than once"),
        ('{"path": "a", "lable": "dog"}', "line 1: label: Field required; the row has 'path', 'lable'"),
        ('{"path": "a", "label": NaN}', "line 1 is not JSON: NaN is not a number"),
        ('{"path": "a", "label": true}', "line 1: label: .*found True"),
        ('{"path": "a", "label": null}', "line 1: label: .*found None"),
        ('{"path": "a", "label": ["dog"]}', r"line 1: label: .*found \['dog'\]"),
        ('"a"', "line 1: the row"),
    ],
)
def test_an_object_that_cannot_be_meant_is_refused(
    runtime: Runtime, folder: Path, line: str, message: str
) -> None:
    with pytest.raises(ManifestError, match=message):
        read(runtime, folder, "rows.jsonl", line)


def test_what_can_be_meant_is_read(runtime: Runtime, folder: Path) -> None:
    table = '\ufeff\r\npath,label,note\r\n\r\na.wav,"dog, barking","two\r\nlines"\r\nb.wav,1,\r\n'
    assert [(line, row.label) for line, row in read(runtime, folder, "rows.CSV", table).items()] == [
        (4, "dog, barking"),
        (6, "1"),
    ]
    objects = '\ufeff{"path": "a", "label": 1}\n\n{"path": "b", "label": 2.5, "more": null}\n'
    assert [(line, row.label) for line, row in read(runtime, folder, "rows.jsonl", objects).items()] == [
        (1, "1"),
        (3, "2.5"),
    ]


def test_a_line_of_texts_that_cannot_be_meant_is_set_aside(runtime: Runtime, folder: Path) -> None:
    (folder / "texts.csv").write_text('text\nhello, world\n"hello, world"\n')
    (folder / "texts.jsonl").write_text('{"text": "a", "text": "b"}\n{"text": 1.5}\n')
    for name, kept, reason in (
        ("texts.csv", "hello, world", "the line has 2 of 1 fields, the columns are 'text': quote"),
        ("texts.jsonl", "1.5", "the line has the key 'text' more than once"),
    ):
        found = read_texts(runtime, str(folder / name))
        assert [line.text for line in found.lines] == [kept]
        [refused] = found.refused
        assert refused.reason.startswith(reason)


@pytest.fixture
def clips(folder: Path) -> Path:
    """Two clips, and one of them under another name."""
    for name, samples in (("a", hiss()), ("b", tone(440)), ("copy", hiss())):
        write_clip(folder / f"{name}.wav", samples)
    return folder


def build(
    runtime: Runtime, folder: Path, run_id: RunClaim, *pairs: tuple[str, str], task: str = "label"
) -> object:
    answer = "label" if task == "label" else "text"
    lines = [json.dumps({"path": path, answer: label}) + "\n" for path, label in pairs]
    (folder / "rows.jsonl").write_text("".join(lines))
    library = build_library(runtime, "sounds", str(folder / "rows.jsonl"), task, run_id)  # type: ignore[arg-type]
    return library.version, [(row.uri.rpartition("/")[2], row.label) for row in library.demonstrations]


@pytest.mark.parametrize("again", ["a.wav", "./a.wav", "copy.wav"])
def test_one_recording_has_one_label_and_counts_once(
    runtime: Runtime, clips: Path, run_id: RunClaim, again: str
) -> None:
    pairs = [("a.wav", "hiss"), ("b.wav", "tone")]
    with pytest.raises(ManifestError, match=r"lines 1 and 3 give one recording two answers, 'hiss' .*'tone'"):
        build(runtime, clips, run_id, *pairs, (again, "tone"))
    assert rows(runtime.engine, "SELECT count(*) FROM demonstration_sets") == [(0,)]
    once = build(runtime, clips, run_id, *pairs)
    assert build(runtime, clips, run_id, *pairs, (again, "hiss"), ("b.wav", "tone")) == once


def test_a_sound_may_have_several_captions_and_speech_one_text(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    pairs = [("a.wav", "a hiss"), ("copy.wav", "white noise"), ("a.wav", "a hiss")]
    assert build(runtime, clips, run_id, *pairs, task="sound") == (
        1,
        [("a.wav", "a hiss"), ("copy.wav", "white noise")],
    )
    with pytest.raises(ManifestError, match="two answers"):
        build(runtime, clips, run_id, *pairs, task="speech")


def test_a_label_is_one_label_in_both_spellings_of_unicode(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    composed = build(runtime, clips, run_id, ("a.wav", NFC), ("b.wav", "tone"))
    assert build(runtime, clips, run_id, ("a.wav", NFD), ("b.wav", "tone"), ("copy.wav", NFC)) == composed
    assert composed == (1, [("a.wav", NFC), ("b.wav", "tone")])


def test_labels_that_differ_only_in_case_are_told(
    runtime: Runtime, clips: Path, run_id: RunClaim, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        build(runtime, clips, run_id, ("a.wav", "Dog"), ("b.wav", "dog"))
    assert "differ only in case are different labels: 'Dog', 'dog'" in caplog.text


def test_an_evaluation_holds_its_manifest_to_the_same(runtime: Runtime, clips: Path) -> None:
    table = clips / "rows.csv"
    table.write_text(f"{HEADER}a.wav,hiss\nb.wav,tone\na.wav,hiss\ncopy.wav,tone\n")
    manifest = LabeledManifest(runtime, str(table), first_second=False)
    [batch] = manifest.batches()
    assert len(batch) == 3
    manifest.read_batch(batch)
    with pytest.raises(ManifestError, match="one recording with two labels, 'hiss' and 'tone'"):
        manifest.clips()
    table.write_text(f"{HEADER}a.wav,hiss\na.wav,tone\n")
    with pytest.raises(ManifestError, match=r"line 3 names a clip again, a\.wav, but otherwise than line 2"):
        LabeledManifest(runtime, str(table), first_second=False)


FIELDS = st.text(st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))


@given(
    st.lists(FIELDS, min_size=2, max_size=4, unique_by=lambda name: name.strip().casefold()),
    st.lists(st.lists(FIELDS, min_size=1), min_size=1),
)
def test_a_row_is_read_exactly_where_it_has_as_many_fields_as_columns(
    columns: list[str], table: list[list[str]]
) -> None:
    file = io.StringIO()
    csv.writer(file, quoting=csv.QUOTE_ALL).writerows([columns, *table])
    for row, fields in zip(table_rows(file.getvalue(), columns), table, strict=True):
        if len(fields) == len(columns):
            assert isinstance(row, FileRow)
            assert row.values == dict(zip(columns, fields, strict=True))
        else:
            assert isinstance(row, WrongRow)


@given(st.dictionaries(FIELDS, FIELDS, min_size=1))
def test_an_object_is_read_exactly_where_no_key_is_there_twice(values: dict[str, str]) -> None:
    line = json.dumps(values)
    key = next(iter(values))
    twice = f"{line[:-1]}, {json.dumps(key)}: 1}}"
    [read_back], [refused] = object_rows(line), object_rows(twice)
    assert read_back == FileRow(1, values)
    assert isinstance(refused, WrongRow)


def test_a_library_of_before_keeps_its_spelling_and_the_next_import_is_a_new_version(
    runtime: Runtime, clips: Path, run_id: RunClaim
) -> None:
    build(runtime, clips, run_id, ("a.wav", NFC), ("b.wav", "tone"))
    with session_scope(runtime.engine) as session:
        made = get_library(session, "sounds").demonstrations
        shown = [replace(made[0], label=NFD), made[1], made[1]]
        before = import_library(session, "older", "label", None, shown)
    (clips / "older.csv").write_text(f"{HEADER}a.wav,{NFD}\nb.wav,tone\nb.wav,tone\n")
    after = build_library(runtime, "older", str(clips / "older.csv"), "label", run_id)
    assert (after.version, [row.label for row in after.demonstrations]) == (2, [NFC, "tone"])
    with session_scope(runtime.engine) as session:
        assert get_library(session, "older", 1) == before
