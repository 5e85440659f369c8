"""Columns of Postgres as columns of Parquet files."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from itertools import islice
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as types

ROWS_PER_GROUP = 10_000
_ELEMENTS = {1000: 16, 1005: 21, 1007: 23, 1016: 20, 1021: 700, 1022: 701, 1009: 25, 1182: 1082, 1185: 1184}
"""The type of an array, as Postgres numbers it -> that of its elements."""
_KINDS: Mapping[int, pa.DataType] = {
    16: pa.bool_(), 17: pa.binary(), 20: pa.int64(), 21: pa.int16(), 23: pa.int32(), 700: pa.float32(),
    701: pa.float64(), 1700: pa.float64(), 1082: pa.date32(), 1114: pa.timestamp("us"),
    1184: pa.timestamp("us", "UTC"),
}  # fmt: skip


def column_type(oid: int) -> pa.DataType:
    """Return the type of a column: numeric becomes double, JSON and what is not known here become text."""
    if oid in _ELEMENTS:
        return pa.list_(column_type(_ELEMENTS[oid]))
    return _KINDS.get(oid, pa.string())


def write_parquet(schema: pa.Schema, rows: Iterable[Sequence[Any]], file: IO[bytes]) -> int:
    """Write rows group by group, and return their number. Equal rows give equal bytes."""
    num_rows = 0
    with pq.ParquetWriter(file, schema, compression="zstd") as table:
        for group in _groups(rows):
            by_field = zip(zip(*group, strict=True), schema, strict=True)
            columns = [_column(values, field.type) for values, field in by_field]
            table.write_table(pa.Table.from_arrays(columns, schema=schema))
            num_rows += len(group)
    return num_rows


def _groups(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    iterator = iter(rows)
    while group := list(islice(iterator, ROWS_PER_GROUP)):
        yield group


def _column(values: Iterable[Any], kind: pa.DataType) -> pa.Array:
    return pa.array([_value(value, kind) for value in values], kind)


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None:
        return None
    if types.is_string(kind) or types.is_dictionary(kind):
        return _text(value)
    if types.is_list(kind):
        return [_value(one, kind.value_type) for one in value]
    if isinstance(value, Decimal):
        return float(value)
    return bytes(value) if isinstance(value, memoryview) else value


def _text(value: Any) -> str:
    return (
        json.dumps(value, ensure_ascii=False, sort_keys=True)
        if isinstance(value, dict | list)
        else str(value)
    )
