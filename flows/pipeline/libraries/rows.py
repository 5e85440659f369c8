"""Strict reading of the rows of CSV and JSONL files. No line is guessed."""

import csv
import io
import json
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn


class ManifestError(ValueError):
    """A file of rows that cannot be used; the message names the lines."""


@dataclass(frozen=True)
class FileRow:
    """The values of a line, by column or as any JSON value, and its number, counted from 1."""

    number: int
    values: object


@dataclass(frozen=True)
class WrongRow:
    """A line that is not a row, with its text and the reason, which continues "the line"."""

    number: int
    text: str
    reason: str


def table_rows(content: str, required: Collection[str]) -> Iterator[FileRow | WrongRow]:
    """Read a CSV file whose first line names the columns.

    Raises ManifestError for unmatched quotes, and for missing or repeated columns.
    """
    reader = csv.reader(io.StringIO(content), strict=True)
    try:
        columns = next(filter(None, reader), [])
        _check_columns(columns, required)
        number = reader.line_num + 1
        for fields in reader:
            if fields:
                yield _table_row(number, columns, fields)
            number = reader.line_num + 1
    except csv.Error as error:
        raise ManifestError(f"line {reader.line_num} is not a row of a table: {error}") from error


def table_columns(content: str) -> list[str]:
    """Return the columns of a CSV file, none of one whose first line table_rows refuses."""
    try:
        return next(filter(None, csv.reader(io.StringIO(content), strict=True)), [])
    except csv.Error:
        return []


def object_rows(content: str) -> Iterator[FileRow | WrongRow]:
    """Read a file with a JSON value on each line."""
    for number, line in enumerate(content.split("\n"), start=1):  # JSON strings may hold other ends of lines
        if line.strip():
            yield _json_row(number, line)


def names(columns: Iterable[str]) -> str:
    """Return columns for a message, with invisible characters escaped."""
    return ", ".join(map(repr, columns))


def _check_columns(columns: Sequence[str], required: Collection[str]) -> None:
    found = f"its first line names {names(columns) or 'none'}, and commas separate columns"
    if missing := [name for name in required if name not in columns]:
        raise ManifestError(f"the table has no column {' and '.join(missing)}: {found}")
    if repeated := _repeated(columns):
        raise ManifestError(f"the table has the column {names(repeated)} more than once: {found}")


def _table_row(number: int, columns: Sequence[str], fields: Sequence[str]) -> FileRow | WrongRow:
    if len(fields) == len(columns):
        return FileRow(number, dict(zip(columns, fields, strict=True)))
    found = f"has {len(fields)} of {len(columns)} fields, the columns are {names(columns)}"
    return WrongRow(number, json.dumps(fields), f"{found}: quote a field that holds a comma")


def _json_row(number: int, line: str) -> FileRow | WrongRow:
    try:
        return FileRow(number, json.loads(line, object_pairs_hook=_distinct_keys, parse_constant=_refuse))
    except _RepeatedKeys as repeated:
        return WrongRow(number, line, str(repeated))
    except (ValueError, RecursionError) as error:  # also too long a number, or too deep a list
        return WrongRow(number, line, f"is not JSON: {getattr(error, 'msg', error)}")


def _repeated(columns: Iterable[str]) -> list[str]:
    """Return the columns that occur twice, ignoring case and outer spaces."""
    counts = Counter(column.strip().casefold() for column in columns)
    return [column for column, count in counts.items() if count > 1]


class _RepeatedKeys(Exception):
    pass


def _distinct_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if repeated := [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]:
        raise _RepeatedKeys(f"has the key {names(repeated)} more than once: keep the one that is right")
    return dict(pairs)


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a number")
