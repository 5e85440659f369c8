"""A dataset has the audio of each labeled clip, byte for byte, and its label as a class."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from flows.pipeline.files.huggingface import write_dataset
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip


@pytest.fixture
def labeled(runtime: Runtime, folder: Path, manifest: Path, run_id: Any) -> Path:
    """A folder with three labeled clips and one that is no audio."""
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(500))
    write_clip(folder / "b.wav", hiss())
    write_clip(folder / "c.wav", tone(600))
    (folder / "junk.wav").write_bytes(b"junk")
    request = LabelRequest("sounds")
    run_night(runtime, partition_of(str(folder)), request, with_bar, kind="label", export=False)
    return folder


def read(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The features and the rows of a dataset."""
    [file] = (folder / "data").iterdir()
    features = json.loads(pq.read_schema(file).metadata[b"huggingface"])["info"]["features"]
    return features, pq.ParquetFile(file).read().to_pylist()


def test_each_labeled_clip_is_there_with_its_bytes_and_the_number_of_its_label(
    runtime: Runtime, labeled: Path, tmp_path: Path
) -> None:
    assert write_dataset(runtime, str(labeled), "sounds", tmp_path / "set").clips == 3
    features, found = read(tmp_path / "set")
    assert features["audio"] == {"_type": "Audio"}
    assert features["label"] == {"names": ["hiss", "tone"], "_type": "ClassLabel"}
    named = {row["audio"]["path"]: row for row in found}
    answers = dict(rows(runtime.engine, "SELECT uri, label FROM analytics.labels"))
    assert {row["uri"]: features["label"]["names"][row["label"]] for row in found} == answers
    assert len(set(answers.values())) == 2
    for name, row in named.items():
        assert row["audio"]["bytes"] == (labeled / name).read_bytes()
    assert set(features) == set(found[0])


def test_a_clip_whose_bytes_are_gone_is_left_out_and_named(
    runtime: Runtime, labeled: Path, tmp_path: Path
) -> None:
    (labeled / "a.wav").unlink()
    written = write_dataset(runtime, str(labeled), "sounds", tmp_path / "set")
    assert written.clips == 2
    assert [uri.rpartition("/")[2] for uri in written.left_out] == ["a.wav"]


def test_a_dataset_that_fails_leaves_no_files_and_can_be_written_again(
    runtime: Runtime, labeled: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.ParquetWriter.write_table", fail)
        with pytest.raises(OSError, match="full"):
            write_dataset(runtime, str(labeled), "sounds", tmp_path / "set")
    assert list((tmp_path / "set").iterdir()) == []
    assert write_dataset(runtime, str(labeled), "sounds", tmp_path / "set").clips == 3
    assert sorted(one.name for one in (tmp_path / "set").iterdir()) == ["README.md", "data"]


def test_a_folder_with_files_and_a_place_without_labels_are_refused(
    runtime: Runtime, labeled: Path, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match="not empty"):
        write_dataset(runtime, str(labeled), "sounds", labeled)
    with pytest.raises(ValueError, match="no clip with an answer by birds"):
        write_dataset(runtime, str(labeled), "birds", tmp_path / "set")
    assert not (tmp_path / "set").exists()
