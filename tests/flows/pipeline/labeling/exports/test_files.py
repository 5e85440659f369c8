"""Labels as files, on each kind of storage."""

import hashlib
import json
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from urllib.parse import unquote
from uuid import UUID

import pyarrow.parquet as pq
import pytest

from flows.pipeline.labeling.exports.files import ROWS_PER_GROUP, label_files, store_files
from flows.pipeline.labeling.exports.row import SCHEMA_VERSION, LabelRow
from flows.pipeline.storage import Storage
from tests.fixtures_storage import Store

RUN = UUID(int=7)
ROW = LabelRow(
    uri="s3://bucket/ü\n\"'.wav",
    content_sha256="ab" * 32,
    task="label",
    label="Hund",
    probability=0.75,
    margin=0.5,
    status="labeled",
    chance=0.5,
    majority_label=None,
    nearest_label="Катка",
    nearest_latent_label=None,
    probabilities={"Hund": 0.75, "Катка": 0.25},
    is_demonstration=False,
    library="animals",
    version=3,
    labeler="nearest-neighbour",
    llm=None,
    codec="mini-codec",
    run=str(RUN),
    created_at=datetime(2026, 11, 22, 2, 0, 0, 123456, tzinfo=UTC),
)


def export_labels(rows: Iterable[LabelRow], storage: Storage, run: UUID) -> dict[str, str]:
    with label_files(rows) as files:
        return store_files(files, storage, run)


def rows(count: int) -> list[LabelRow]:
    return [replace(ROW, uri=f"s3://bucket/{number:05}.wav") for number in range(count)]


def content(store: Store, name: str) -> bytes:
    found = store.storage.find(f"{folder(store)}/{name}")
    assert found is not None
    with store.storage.read(found.uri, found.version_token) as fetched:
        return fetched.path.read_bytes()


def labels(store: Store, kind: str) -> bytes:
    """The one file of labels of a kind."""
    [name] = [name for name in objects(store) if name.endswith(f".{kind}")]
    return content(store, name)


def folder(store: Store) -> str:
    results = store.settings.storage_uri
    return f"{results if results.startswith('s3') else 'file://' + results}/runs/{RUN}"


def objects(store: Store) -> dict[str, bytes]:
    names = [clip.uri.rsplit("/", 1)[1] for clip in store.storage.list(store.settings.storage_uri)]
    return {unquote(name): content(store, name) for name in names}


def test_the_manifest_names_every_file_with_its_size_hash_and_rows(store: Store) -> None:
    sha256s = export_labels(rows(3), store.storage, RUN)
    manifest = json.loads(content(store, "manifest.json"))
    assert (manifest["schema_version"], manifest["run"], manifest["num_rows"]) == (
        SCHEMA_VERSION,
        str(RUN),
        3,
    )
    for file, kind in zip(manifest["files"], ["parquet", "jsonl"], strict=True):
        assert file["name"] == f"labels-{file['sha256'][:12]}.{kind}"
        data = content(store, file["name"])
        assert file["size"] == len(data)
        assert file["sha256"] == sha256s[file["name"]] == hashlib.sha256(data).hexdigest()


def test_both_files_hold_the_rows_in_the_given_order_with_every_field(store: Store, tmp_path: Path) -> None:
    given = [replace(ROW, uri="z"), ROW]
    export_labels(given, store.storage, RUN)
    lines = [json.loads(line) for line in labels(store, "jsonl").decode().rstrip("\n").split("\n")]
    assert [
        LabelRow(**{**line, "created_at": datetime.fromisoformat(line["created_at"])}) for line in lines
    ] == given
    (tmp_path / "labels.parquet").write_bytes(labels(store, "parquet"))
    read = pq.read_table(tmp_path / "labels.parquet").to_pylist(maps_as_pydicts="strict")
    assert [LabelRow(**row) for row in read] == given


def test_equal_rows_give_equal_objects_however_they_are_spelled(store: Store) -> None:
    export_labels([ROW], store.storage, RUN)
    first = objects(store)
    berlin = ROW.created_at.astimezone(timezone(timedelta(hours=1)))
    turned = dict(reversed(list(ROW.probabilities.items())))
    export_labels(iter([replace(ROW, created_at=berlin, probabilities=turned)]), store.storage, RUN)
    assert objects(store) == first


class CutOff:
    """A storage whose power goes after some writes."""

    def __init__(self, storage: Storage, writes: int) -> None:
        self.storage, self.writes = storage, writes

    def write(self, key: str, data: bytes | Path) -> object:
        if not self.writes:
            raise ConnectionError
        self.writes -= 1
        return self.storage.write(key, data)


@pytest.mark.parametrize("writes", [0, 1, 2])
def test_an_export_cut_off_anywhere_has_no_manifest_and_is_completed_by_the_next(
    store: Store, writes: int
) -> None:
    with pytest.raises(ConnectionError):
        export_labels(rows(2), CutOff(store.storage, writes), RUN)  # type: ignore[arg-type]
    if writes:  # a local folder is made by the first write
        assert len(objects(store)) == writes
        assert "manifest.json" not in objects(store)
    sha256s = export_labels(rows(2), store.storage, RUN)
    assert {name: hashlib.sha256(data).hexdigest() for name, data in objects(store).items()} == sha256s


def test_another_export_of_the_run_leaves_the_manifest_true_at_every_moment(store: Store) -> None:
    export_labels(rows(2), store.storage, RUN)
    for writes in range(3):
        with pytest.raises(ConnectionError):
            export_labels(rows(3), CutOff(store.storage, writes), RUN)  # type: ignore[arg-type]
        check_manifest(store, num_rows=2)
    export_labels(rows(3), store.storage, RUN)
    check_manifest(store, num_rows=3)


def check_manifest(store: Store, num_rows: int) -> None:
    manifest = json.loads(content(store, "manifest.json"))
    assert manifest["num_rows"] == num_rows
    for file in manifest["files"]:
        assert hashlib.sha256(content(store, file["name"])).hexdigest() == file["sha256"]


def test_no_rows_are_an_export_too(store: Store, tmp_path: Path) -> None:
    export_labels([], store.storage, RUN)
    assert json.loads(content(store, "manifest.json"))["num_rows"] == 0
    assert labels(store, "jsonl") == b""
    (tmp_path / "labels.parquet").write_bytes(labels(store, "parquet"))
    assert pq.read_table(tmp_path / "labels.parquet").num_rows == 0


def test_no_more_than_two_groups_of_rows_are_held_in_memory() -> None:
    alive: weakref.WeakSet[LabelRow] = weakref.WeakSet()
    most = 0

    class Weak(LabelRow):
        __hash__ = object.__hash__

    def stream() -> Iterator[LabelRow]:
        nonlocal most
        for _ in range(4 * ROWS_PER_GROUP + 5):
            row = Weak(**vars(ROW))
            alive.add(row)
            most = max(most, len(alive))
            yield row
            del row

    with label_files(stream()) as files:
        assert files.num_rows == 4 * ROWS_PER_GROUP + 5
    assert most <= 2 * ROWS_PER_GROUP


def test_a_number_that_is_not_finite_is_refused_and_nothing_is_written(store: Store) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        export_labels([replace(ROW, margin=float("nan"))], CutOff(store.storage, 0), RUN)  # type: ignore[arg-type]
