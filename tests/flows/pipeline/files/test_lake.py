"""The lake has the current rows of each day and library, once, whatever was run, undone or promoted."""

import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db.locks import partition_lock
from flows.pipeline.files import lake
from flows.pipeline.files.lake import METADATA_KEY, LakeFile
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.reviews.learning import promote_library
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip

KIND = "nightly-labeling"
DAY = date(2026, 11, 22)


def night(runtime: Runtime, place: Path | str) -> Night:
    partition = partition_of(str(place), day=str(DAY))
    return run_night(runtime, partition, LabelRequest("sounds"), with_bar, kind=KIND, export=True)


@pytest.fixture
def place(runtime: Runtime, folder: Path, manifest: Path, run_id: Any) -> str:
    """A prefix with {day} with two clips of a day and one that is no audio."""
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    day = folder / str(DAY)
    write_clip(day / "a.wav", tone(500, seconds=1.0))
    write_clip(day / "b.wav", hiss(seconds=0.5))
    (day / "junk.wav").write_bytes(b"junk")
    return str(folder / "{day}")


def labels_file(runtime: Runtime) -> Path:
    return Path(runtime.settings.storage_uri) / LakeFile("labels", DAY, "sounds").key


def labels(runtime: Runtime) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pq.ParquetFile(labels_file(runtime)).read().to_pylist()
    return found


def names(found: list[dict[str, Any]]) -> list[str]:
    return [row["uri"].rpartition("/")[2] for row in found]


def test_a_night_writes_the_answers_of_its_day_and_what_it_set_aside(runtime: Runtime, place: str) -> None:
    done = night(runtime, place)
    a, b, junk = labels(runtime)
    assert [(row["status"], row["reason"]) for row in (a, b, junk)] == [
        ("labeled", None),
        ("labeled", None),
        ("quarantined", "unsupported"),
    ]
    assert {a["label"], b["label"]} <= {"tone", "hiss"}
    assert (junk["label"], junk["probability"]) == (None, None)
    assert {row["day"] for row in (a, b, junk)} == {str(DAY)}
    assert {row["prefix"] for row in (a, b, junk)} == {a["uri"].rpartition("/")[0]}
    assert (a["duration"], b["duration"], junk["duration"]) == (1.0, 0.5, None)
    assert a["codec_fingerprint"] == runtime.codec_fingerprint
    assert a["run"] == junk["run"] == str(done.run.id)
    assert sum(json.loads(a["probabilities"]).values()) == pytest.approx(1)


def test_the_answers_are_those_that_analysts_read(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    common = "uri, label, probability, margin, status, library, version, labeler, codec, created_at"
    wanted = rows(
        runtime.engine, f"SELECT {common}, encode(content_sha256, 'hex') FROM analytics.labels ORDER BY uri"
    )
    columns = [*common.split(", "), "content_sha256"]
    answered = [row for row in labels(runtime) if row["status"] != "quarantined"]
    assert [tuple(row[name] for name in columns) for row in answered] == wanted


def test_a_night_counts_its_day_for_analysts(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    assert rows(runtime.engine, "SELECT count(*) FROM days_to_count") == [(0,)]
    assert rows(runtime.engine, "SELECT day, sum(clips) FROM label_counts GROUP BY day") == [(DAY, 2)]


def test_codes_lie_beside_them_by_codec(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    file = Path(runtime.settings.storage_uri) / LakeFile("tokens", DAY, runtime.codec_fingerprint).key
    assert f"codec={runtime.codec_fingerprint[:12]}" in str(file)
    found = pq.ParquetFile(file).read()
    wanted = rows(
        runtime.engine, "SELECT uri, semantic, acoustic1, acoustic2 FROM analytics.tokens ORDER BY uri"
    )
    wanted = [row for row in wanted if str(row[0]).endswith(("a.wav", "b.wav"))]
    codes = ("uri", "semantic", "acoustic1", "acoustic2")
    assert [tuple(row[name] for name in codes) for row in found.to_pylist()] == wanted
    assert found.schema.field("semantic").type == pa.list_(pa.int16())


def test_the_schema_and_its_comments_are_the_views(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    schema = pq.read_schema(labels_file(runtime))
    assert json.loads(schema.metadata[METADATA_KEY]) == {
        "schema_version": 1,
        "view": "analytics.lake_labels",
        "day": str(DAY),
        "library": "sounds",
    }
    comment = schema.field("margin").metadata[b"comment"].decode()
    assert comment == "Probability of the first label minus that of the second"


def test_a_day_that_runs_twice_has_each_clip_once_and_is_not_written_again(
    runtime: Runtime, place: str
) -> None:
    night(runtime, place)
    before = labels_file(runtime).stat()
    night(runtime, place)
    after = labels_file(runtime).stat()  # it was read, which may be noted in its times
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert names(labels(runtime)) == ["a.wav", "b.wav", "junk.wav"]


def test_a_clip_that_comes_later_joins_and_one_that_goes_leaves(
    runtime: Runtime, place: str, folder: Path
) -> None:
    night(runtime, place)
    write_clip(folder / str(DAY) / "c.wav", tone(700))
    (folder / str(DAY) / "a.wav").unlink()
    night(runtime, place)
    assert names(labels(runtime)) == ["b.wav", "c.wav", "junk.wav"]


def test_an_undone_run_leaves_the_lake_and_comes_back_with_its_answers(runtime: Runtime, place: str) -> None:
    done = night(runtime, place)
    written = labels_file(runtime).read_bytes()
    undone = undo(runtime, done.run.id)
    assert names(labels(runtime)) == ["junk.wav"]
    undo(runtime, undone.id)
    assert labels_file(runtime).read_bytes() == written


def test_a_place_within_another_has_its_refused_clip_once(runtime: Runtime, place: str, folder: Path) -> None:
    outer = partition_of(str(folder))
    run_night(runtime, outer, LabelRequest("sounds"), with_bar, kind="label", export=False)
    night(runtime, place)
    assert len(rows(runtime.engine, "SELECT DISTINCT place FROM analytics.nights")) == 2
    assert names(labels(runtime)) == ["a.wav", "b.wav", "junk.wav"]


def test_a_promoted_version_is_seen_in_the_lake(
    runtime: Runtime, place: str, manifest: Path, run_id: Any
) -> None:
    night(runtime, place)
    manifest.write_text(manifest.read_text().replace('"tone"', '"beep"'))
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    assert {row["version"] for row in labels(runtime)} == {1, None}
    promote_library(runtime, "sounds@2", with_bar)
    assert {row["version"] for row in labels(runtime)} == {2, None}


def test_another_bound_of_the_margin_is_seen_in_the_lake(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    partition, strict = partition_of(place, day=str(DAY)), LabelRequest("sounds", min_margin=1.0)
    run_night(runtime, partition, strict, with_bar, kind=KIND, export=True)
    assert [row["status"] for row in labels(runtime)] == ["uncertain", "uncertain", "quarantined"]


def test_a_night_after_one_that_failed_before_its_files_writes_them(
    runtime: Runtime, place: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it is for no certain day, and finds every clip labeled."""

    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    def label_all() -> Night:
        partition = partition_of(str(folder))
        return run_night(runtime, partition, LabelRequest("sounds"), with_bar, kind=KIND, export=True)

    with monkeypatch.context() as patch:
        patch.setattr(lake, "_write", fail)
        with pytest.raises(OSError, match="full"):
            label_all()
    assert not labels_file(runtime).exists()
    assert label_all().run.counts["label.labeled"] == 0
    assert names(labels(runtime)) == ["a.wav", "b.wav", "junk.wav"]


def test_a_library_that_was_never_exported_stays_out(runtime: Runtime, place: str) -> None:
    partition = partition_of(place, day=str(DAY))
    labeled = run_night(runtime, partition, LabelRequest("sounds"), with_bar, kind="label", export=False)
    undo(runtime, labeled.run.id)
    assert not labels_file(runtime).exists()


def test_a_file_that_was_lost_is_written_by_the_next_night_of_its_day(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    written = labels_file(runtime).read_bytes()
    labels_file(runtime).unlink()
    night(runtime, place)
    assert labels_file(runtime).read_bytes() == written


def test_a_writer_waits_for_the_one_that_has_the_file(
    runtime: Runtime, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = night(runtime, place)
    file, waits = LakeFile("labels", DAY, "sounds"), list[float]()
    held = partition_lock(runtime.database_url, f"lake {file.key}")
    held.__enter__()

    def give_back(seconds: float) -> None:
        waits.append(seconds)
        held.__exit__(None, None, None)

    monkeypatch.setattr("time.sleep", give_back)
    lake.refresh_lake(runtime, done.run.id, "sounds")
    assert waits == [lake.PAUSE_SECONDS]


def test_a_whole_folder_is_one_table(runtime: Runtime, place: str, folder: Path) -> None:
    """The columns of the folders' names are those of the files."""
    write_clip(folder / "2026-11-23" / "d.wav", tone(520))
    run_night(runtime, partition_of(str(folder)), LabelRequest("sounds"), with_bar, kind=KIND, export=True)
    found = pq.read_table(Path(runtime.settings.storage_uri) / "labels").to_pylist()
    assert sorted((row["day"], row["library"]) for row in found) == [
        *[("2026-11-22", "sounds")] * 3,
        ("2026-11-23", "sounds"),
    ]


def test_times_are_in_utc(runtime: Runtime, place: str) -> None:
    night(runtime, place)
    created = labels(runtime)[0]["created_at"]
    assert created.tzinfo is not None
    assert created <= datetime.now(UTC)
