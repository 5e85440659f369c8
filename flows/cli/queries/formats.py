"""The formats of an answer: a table to look at, and files without a limit of rows."""

import csv
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from decimal import Decimal
from itertools import islice
from typing import IO, Any, Literal, get_args

from flows.cli.queries.query import QueryResult
from flows.pipeline.runtime.printable import printable

QueryFormat = Literal["table", "csv", "json", "parquet"]
FORMATS: tuple[QueryFormat, ...] = get_args(QueryFormat)
MAX_TABLE_ROWS = 1000


def write_answer(answer: QueryResult, layout: QueryFormat, file: IO[bytes]) -> None:
    """Write an answer. Raises ValueError for Parquet to a terminal."""
    if layout == "parquet":
        if file.isatty():
            raise ValueError("a Parquet file is not for a terminal: add > answer.parquet")
        _write_parquet(answer, file)
        return
    lines = {"table": _table_lines, "csv": _csv_lines, "json": _json_lines}[layout](answer)
    shown: Callable[[str], str] = printable if file.isatty() else str
    for line in lines:
        file.write(shown(line).encode(errors="surrogateescape") + b"\n")


def _table_lines(answer: QueryResult) -> Iterator[str]:
    """Yield column names and up to 1,000 rows, aligned."""
    rows = [[printable(_text(value)) for value in row] for row in islice(answer.rows, MAX_TABLE_ROWS + 1)]
    table = [list(answer.columns), *rows[:MAX_TABLE_ROWS]]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for row in table:
        yield "  ".join(value.ljust(width) for value, width in zip(row, widths, strict=True)).rstrip()
    if len(rows) > MAX_TABLE_ROWS:
        yield f"(the first {MAX_TABLE_ROWS} rows: narrow the query, or take --format csv, json or parquet)"


class _Line:
    """The last line that was written to it."""

    text = ""

    def write(self, text: str) -> None:
        self.text = text


def _csv_lines(answer: QueryResult) -> Iterator[str]:
    line = _Line()
    writer = csv.writer(line, lineterminator="")
    writer.writerow(answer.columns)
    yield line.text
    for row in answer.rows:
        writer.writerow(map(_text, row))
        yield line.text


def _json_lines(answer: QueryResult) -> Iterator[str]:
    """Yield an object for each row. A number that JSON does not know is null."""
    for row in answer.rows:
        named = dict(zip(answer.columns, map(_json_value, row), strict=True))
        yield json.dumps(named, ensure_ascii=False, allow_nan=False)


def _text(value: object) -> str:
    """Return a value as text: bytes, such as a sha256, in hex, NULL as an empty text."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case bytes() | memoryview():
            return value.hex()
        case datetime():
            return value.isoformat()
        case dict() | list():
            return json.dumps(_json_value(value), ensure_ascii=False)
    return str(value)


def _json_value(value: object) -> Any:
    match value:
        case None | bool() | int() | str():
            return value
        case float() | Decimal():
            number = float(value)
            whole = isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value()
            return int(value) if whole else number if abs(number) < float("inf") else None
        case list():
            return [_json_value(one) for one in value]
        case dict():
            return {name: _json_value(one) for name, one in value.items()}
    return _text(value)


def _write_parquet(answer: QueryResult, file: IO[bytes]) -> None:
    import pyarrow as pa

    from flows.pipeline.files.arrow import column_type, write_parquet

    kinds = map(column_type, answer.types)
    schema = pa.schema(list(zip(answer.columns, kinds, strict=True)))
    write_parquet(schema, answer.rows, file)
