"""Files of results without what was forgotten. A file that does not name it stays as it is."""

import json
from collections.abc import Callable, Iterator, Mapping
from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pyarrow.types as types

from db.forgetting import hidden
from flows.pipeline.maintenance.forgetting.names import Names

PAGE_LEFT = (
    b'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Forgotten</title>\n'
    b"<p>This page played something that was forgotten since. What else it showed is in the view "
    b"analytics.generated; the same request again makes a new page.</p>\n</html>\n"
)


def names_are_in_file(path: Path, kind: str, names: Names) -> bool:
    """Return whether a file holds a name: in its rows, where it is Parquet, else anywhere in its bytes."""
    if kind == "jsonl":
        return any(names.are_in_json(json.loads(line)) for line in _lines_naming(path, names))
    if kind != "parquet":
        return names.are_in(path.read_bytes())
    with pq.ParquetFile(path) as file:
        batches = file.iter_batches(columns=_name_columns(file))
        in_rows = any(pc.any(_named(batch, names)).as_py() for batch in batches)
        return bool(in_rows or names.are_in(json.dumps(_metadata(file)).encode()))


def without_names(path: Path, kind: str, names: Names) -> bytes:
    """Return the bytes of a file without the rows, lines or values that hold a name."""
    return _REWRITE[kind](path, names)


def _lines_naming(path: Path, names: Names) -> Iterator[bytes]:
    """Yield the lines that hold a name anywhere; there may be a longer one that begins with it."""
    if names.are_in(path.read_bytes()):
        with path.open("rb") as lines:
            yield from lines


def _metadata(file: pq.ParquetFile) -> dict[str, str]:
    kept = file.schema_arrow.metadata or {}
    return {key.decode(errors="replace"): value.decode(errors="replace") for key, value in kept.items()}


def _name_columns(file: pq.ParquetFile) -> list[str]:
    return [field.name for field in file.schema_arrow if _may_name(field.type)]


def _may_name(kind: pa.DataType) -> bool:
    if types.is_dictionary(kind):
        kind = kind.value_type
    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_binary(kind))


def _named(batch: pa.RecordBatch, names: Names) -> pa.BooleanArray:
    """Return which rows have a column that is a name."""
    named = pa.array([False] * batch.num_rows)
    for column in batch.columns:
        if types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if _may_name(column.type):
            is_binary = types.is_binary(column.type)
            wanted = pa.array(list(names.contents if is_binary else names.texts), column.type)
            named = pc.or_(named, pc.is_in(column, value_set=wanted))
    return named


def _parquet(path: Path, names: Names) -> bytes:
    data = BytesIO()
    with (
        pq.ParquetFile(path) as file,
        pq.ParquetWriter(data, file.schema_arrow, compression="zstd") as table,
    ):
        for group in range(file.num_row_groups):
            rows = file.read_row_group(group).combine_chunks()
            kept = [batch.filter(pc.invert(_named(batch, names))) for batch in rows.to_batches()]
            table.write_table(pa.Table.from_batches(kept, file.schema_arrow))
    return data.getvalue()


def _json_lines(path: Path, names: Names) -> bytes:
    with path.open("rb") as lines:
        return b"".join(line for line in lines if not names.are_in_json(json.loads(line)))


def _json(path: Path, names: Names) -> bytes:
    left = hidden(json.loads(path.read_bytes()), names.texts.__contains__)
    return json.dumps(left, indent=1).encode() + b"\n"


def _page(path: Path, names: Names) -> bytes:
    return PAGE_LEFT


_REWRITE: Mapping[str, Callable[[Path, Names], bytes]] = {
    "parquet": _parquet,
    "jsonl": _json_lines,
    "json": _json,
    "html": _page,
}


def count_rows(path: Path) -> int:
    """Return the number of rows of a Parquet file."""
    with pq.ParquetFile(path) as file:
        return int(file.metadata.num_rows)
