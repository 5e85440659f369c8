"""Label files for people without a database: Parquet and JSON lines, then a manifest.

Files are named by their content, so that no later write changes one that a manifest names. An interrupted
export is repeated over its files, since equal rows give equal bytes.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, islice
from tempfile import TemporaryFile
from types import UnionType
from typing import IO, Any, get_type_hints
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq

from flows.pipeline.labeling.exports.row import SCHEMA_VERSION, ExportedRow, LabelRow
from flows.pipeline.storage import Storage, Stored
from flows.pipeline.storage.hashed_copy import path_of, sha256_of

MANIFEST = "manifest.json"
MAPS = ("probabilities", "raw_probabilities", "labelers")
NAME_HEX_DIGITS = 12  # of the sha256
ROWS_PER_GROUP = 10_000  # one row group of the Parquet file; two are in memory at once


_TYPES = {
    str: pa.string(),
    float: pa.float64(),
    bool: pa.bool_(),
    int: pa.int32(),
    datetime: pa.timestamp("us", "UTC"),
    Mapping[str, float]: pa.map_(pa.string(), pa.float64()),
    Mapping[str, str]: pa.map_(pa.string(), pa.string()),
    Sequence[str]: pa.list_(pa.string()),
}


@dataclass(frozen=True)
class LabelFiles:
    """Rows in files without a name, so that no kill leaves them behind."""

    num_rows: int
    files: Mapping[str, IO[bytes]]


@contextmanager
def label_files(rows: Iterable[ExportedRow]) -> Iterator[LabelFiles]:
    """Write rows of one kind, in their order, to local files that last as long as the block.

    Raises ValueError for a number that is not finite.
    """
    with TemporaryFile() as parquet, TemporaryFile() as jsonl:
        yield LabelFiles(_write_files(rows, parquet, jsonl), {"parquet": parquet, "jsonl": jsonl})


def store_files(local: LabelFiles, storage: Storage, run_id: UUID) -> dict[str, str]:
    """Copy labels-<sha256>.parquet and labels-<sha256>.jsonl, then manifest.json, to runs/<run id>/.

    `storage` is open at the place for results. Returns the hex sha256 of each file by name.
    """
    folder, stored = f"runs/{run_id}", {}
    for kind, file in local.files.items():
        name = f"labels-{sha256_of(path_of(file)).hex()[:NAME_HEX_DIGITS]}.{kind}"
        stored[name] = storage.write(f"{folder}/{name}", path_of(file))
    stored[MANIFEST] = storage.write(f"{folder}/{MANIFEST}", _manifest(run_id, local.num_rows, stored))
    return {name: file.sha256.hex() for name, file in stored.items()}


def _write_files(rows: Iterable[ExportedRow], parquet: IO[bytes], jsonl: IO[bytes]) -> int:
    num_rows, (schema, rows) = 0, _with_schema(rows)
    with pq.ParquetWriter(parquet, schema, compression="zstd") as table:
        for group in _groups(rows):
            records = [_record(row) for row in group]
            jsonl.writelines(_line(record) for record in records)
            table.write_table(pa.Table.from_pylist([_columns(record) for record in records], schema=schema))
            num_rows += len(records)
    return num_rows


def _with_schema(rows: Iterable[ExportedRow]) -> tuple[pa.Schema, Iterator[ExportedRow]]:
    """Return the schema of the first row, and all rows."""
    rest = iter(rows)
    first = list(islice(rest, 1))
    return _schema(type(first[0]) if first else LabelRow), chain(iter(first), rest)  # lets go of the first


def _schema(kind: type[ExportedRow]) -> pa.Schema:
    """Return a column for each field of a kind of row; only those that may be None are nullable."""
    hints = get_type_hints(kind)
    kinds = {name: hint.__args__[0] if isinstance(hint, UnionType) else hint for name, hint in hints.items()}
    return pa.schema([pa.field(name, _TYPES[kinds[name]], kinds[name] is not hints[name]) for name in hints])


def _groups(rows: Iterable[ExportedRow]) -> Iterator[list[ExportedRow]]:
    iterator = iter(rows)
    while group := list(islice(iterator, ROWS_PER_GROUP)):
        yield group


def _record(row: ExportedRow) -> dict[str, Any]:
    """Return the fields of a row in a canonical form, so that equal rows give equal bytes."""
    kept = {name: getattr(row, name) for name in MAPS if hasattr(row, name)}
    ordered = {name: value and dict(sorted(value.items())) for name, value in kept.items()}
    return {**vars(row), **ordered, "created_at": row.created_at.astimezone(UTC)}


def _line(record: dict[str, Any]) -> bytes:
    line = json.dumps(record, ensure_ascii=False, allow_nan=False, default=datetime.isoformat)
    return line.encode() + b"\n"


def _columns(record: dict[str, Any]) -> dict[str, Any]:
    maps = {name: record[name] and list(record[name].items()) for name in MAPS if name in record}
    return {**record, **maps}


def _manifest(run_id: UUID, num_rows: int, files: Mapping[str, Stored]) -> bytes:
    manifest = {
        "schema_version": SCHEMA_VERSION,
        "run": str(run_id),
        "num_rows": num_rows,
        "files": [
            {"name": name, "size": file.size, "sha256": file.sha256.hex()} for name, file in files.items()
        ],
    }
    return json.dumps(manifest, indent=2).encode() + b"\n"
