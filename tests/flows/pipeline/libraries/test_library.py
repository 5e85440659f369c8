"""Libraries from manifests: whole or not at all, and equal content is the same version."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from core.errors import PromptError
from db.runs import RunClaim
from flows.pipeline.libraries.library import LibraryTask, build_library
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import StorageRefused
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip, write_manifest


def test_equal_content_keeps_its_version_and_other_content_makes_the_next(
    runtime: Runtime, manifest: Path, run_id: RunClaim
) -> None:
    first = build_library(runtime, "sounds", str(manifest), "label", run_id)
    assert (first.version, [row.label for row in first.demonstrations]) == (
        1,
        ["tone", "tone", "hiss", "hiss"],
    )
    assert build_library(runtime, "sounds", str(manifest), "label", run_id).version == 1
    write_clip(manifest.parent / "hiss-1.wav", hiss(seed=9))
    assert build_library(runtime, "sounds", str(manifest), "label", run_id).version == 2
    assert build_library(runtime, "others", str(manifest), "label", run_id).version == 1


def test_a_csv_manifest_is_the_same_library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> None:
    table = manifest.with_suffix(".csv")
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["path", "label"])
        writer.writeheader()
        writer.writerows(map(json.loads, manifest.read_text().splitlines()))
    first = build_library(runtime, "sounds", str(manifest), "label", run_id)
    assert build_library(runtime, "sounds", str(table), "label", run_id) == first


def test_a_table_that_cannot_be_read_is_named_by_its_line(
    runtime: Runtime, manifest: Path, run_id: RunClaim
) -> None:
    table = manifest.with_suffix(".csv")
    table.write_text("path,label\ntone-0.wav,tone\n" + "a" * 200_000)
    with pytest.raises(ManifestError, match="line 3 is not a row of a table: field larger"):
        build_library(runtime, "sounds", str(table), "label", run_id)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{not json", "line 2 is not JSON"),
        ("[" * 100_000, "line 2 is not JSON"),
        ('{"path": "tone-0.wav", "label": ' + "1" * 5_000 + "}", "line 2 is not JSON"),
        ('{"path": "tone-0.wav"}', "line 2: label: Field required"),
        ('{"path": "tone-0.wav", "label": " "}', "line 2: label"),
        ('["tone-0.wav", "tone"]', "line 2: the row"),
        ('{"path": "nowhere.wav", "label": "tone"}', "1 clips of the manifest do not exist.*nowhere"),
        ('{"path": "broken.wav", "label": "tone"}', "broken.wav: unsupported"),
    ],
)
def test_a_wrong_row_is_named_and_nothing_is_made(
    runtime: Runtime, manifest: Path, run_id: RunClaim, line: str, message: str
) -> None:
    (manifest.parent / "broken.wav").write_bytes(b"junk")
    first = manifest.read_text().splitlines()[0]
    manifest.write_text(f"{first}\n{line}\n")
    with pytest.raises(ManifestError, match=message):
        build_library(runtime, "sounds", str(manifest), "label", run_id)
    assert rows(runtime.engine, "SELECT count(*) FROM demonstration_sets") == [(0,)]


@pytest.mark.parametrize("path", ["../../secret.wav", "/etc/secret.wav", "s3://other/secret.wav"])
def test_a_row_may_not_leave_what_may_be_read(
    runtime: Runtime, manifest: Path, run_id: RunClaim, path: str
) -> None:
    manifest.write_text(json.dumps({"path": path, "label": "tone"}))
    with pytest.raises(StorageRefused, match="may not be read"):
        build_library(runtime, "sounds", str(manifest), "label", run_id)


def test_a_missing_or_empty_manifest_is_said_to_be_so(
    runtime: Runtime, manifest: Path, run_id: RunClaim
) -> None:
    with pytest.raises(ManifestError, match="does not exist"):
        build_library(runtime, "sounds", str(manifest.with_name("none.jsonl")), "label", run_id)
    manifest.write_text("\n")
    with pytest.raises(ManifestError, match="0 rows"):
        build_library(runtime, "sounds", str(manifest), "label", run_id)


def test_names_with_spaces_quotes_and_accents_are_found(
    runtime: Runtime, tmp_path: Path, run_id: RunClaim
) -> None:
    name = "a b%20'c'\"üé$(id)"
    manifest = write_manifest(tmp_path / "library", {name: [hiss()], "plain": [hiss(seed=2)]})
    version = build_library(runtime, "odd", str(manifest), "label", run_id)
    assert [row.label for row in version.demonstrations] == [name, "plain"]


def test_a_library_that_no_prompt_can_ask_for_is_refused(
    runtime: Runtime, tmp_path: Path, run_id: RunClaim
) -> None:
    manifest = write_manifest(tmp_path / "library", {"tone": [hiss()]})
    with pytest.raises(PromptError, match="at least 2 labels"):
        build_library(runtime, "sounds", str(manifest), "label", run_id)
    with pytest.raises(ManifestError, match="is not a library name"):
        build_library(runtime, "sounds@2", str(manifest), "label", run_id)


def write_rows(folder: Path, rows: Sequence[Mapping[str, object]]) -> str:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_library_of_texts_keeps_what_each_clip_says(
    runtime: Runtime, manifest: Path, run_id: RunClaim
) -> None:
    texts = write_rows(
        manifest.parent, [{"path": "tone-0.wav", "text": 1}, {"path": "tone-1.wav", "text": " two "}]
    )
    library = build_library(runtime, "digits", texts, "speech", run_id, "Say the digit")
    assert [row.label for row in library.demonstrations] == ["1", "two"]
    assert (library.task, library.instruction) == ("speech", "Say the digit")
    assert build_library(runtime, "digits", texts, "sound", run_id).version == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the text is empty"),
        ("a" * 10_000, "has 10000 characters, at most 200"),
        ("one ### two", "holds '###'"),
        ("one\ntwo", "line break"),
        (None, "Input should be a valid string"),
    ],
)
def test_texts_that_no_prompt_can_hold_are_refused_with_their_lines(
    runtime: Runtime, manifest: Path, run_id: RunClaim, text: str | None, reason: str
) -> None:
    good, bad = {"path": "tone-0.wav", "text": "one"}, {"path": "tone-1.wav", "text": text}
    texts = write_rows(manifest.parent, [good, bad, good, bad])
    with pytest.raises(ManifestError, match=rf"^line 2: text: .*{reason}.*; line 4: .*; a row is path and"):
        build_library(runtime, "digits", texts, "speech", run_id)
    assert rows(runtime.engine, "SELECT count(*) FROM demonstration_sets") == [(0,)]
    assert rows(runtime.engine, "SELECT count(*) FROM clips") == [(0,)]


def test_a_library_of_noisy_clips_keeps_both_contents_tokenized(
    runtime: Runtime, tmp_path: Path, run_id: RunClaim
) -> None:
    folder = tmp_path / "library"
    write_clip(folder / "clean.wav", tone(440))
    write_clip(folder / "noisy.wav", tone(440) + hiss())
    pairs = write_rows(folder, [{"path": "noisy.wav", "target": "clean.wav"}])
    [pair] = build_library(runtime, "street", pairs, "denoise", run_id).demonstrations
    assert (pair.label, Path(pair.uri).name, Path(str(pair.target_uri)).name) == (
        None,
        "noisy.wav",
        "clean.wav",
    )
    stored = rows(runtime.engine, "SELECT content_sha256 FROM token_sequences")
    assert {bytes(content) for (content,) in stored} == set(pair.contents.values())


def test_a_clean_clip_of_another_length_is_no_target(
    runtime: Runtime, tmp_path: Path, run_id: RunClaim
) -> None:
    folder = tmp_path / "library"
    write_clip(folder / "noisy.wav", hiss(0.6))
    write_clip(folder / "clean.wav", tone(440, 1.2))
    pairs = write_rows(folder, [{"path": "noisy.wav", "target": "clean.wav"}])
    with pytest.raises(ManifestError, match=r"noisy\.wav lasts 0\.60 s and its target .*clean\.wav 1\.20 s"):
        build_library(runtime, "street", pairs, "denoise", run_id)


@pytest.mark.parametrize(
    ("task", "instruction"),
    [("label", "Say it"), ("speech", "one\ntwo"), ("speech", "###"), ("speech", " "), ("speech", "a" * 501)],
)
def test_an_instruction_that_no_prompt_can_begin_with_is_refused(
    runtime: Runtime, manifest: Path, run_id: RunClaim, task: LibraryTask, instruction: str
) -> None:
    with pytest.raises(ManifestError, match="instruction"):
        build_library(runtime, "sounds", str(manifest), task, run_id, instruction)
