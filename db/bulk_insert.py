"""Insertion of many rows in few statements."""

import json
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import psycopg2
from sqlalchemy import inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.base import Base, array_text

COPY_ESCAPES = str.maketrans({"\\": r"\\", "\t": r"\t", "\n": r"\n", "\r": r"\r"})
"""Escapes for the text format of COPY."""
COPY_BUFFER_BYTES = 2**20

Row = Mapping[str, Any]


def insert_new(session: Session, table: type[Base], rows: Sequence[Row]) -> int:
    """Insert the rows whose unique keys are free, and return their number.

    All rows have the same columns. They are inserted in the given order: concurrent writers of common rows
    should use the same order, and then wait for each other instead of deadlocking.
    """
    if not rows:
        return 0
    # COPY is faster (benchmarks/database.py), but a taken key ends it: INSERT leaves that one out, and raises
    # all other errors. It is rarely needed, as callers look for the keys first.
    try:
        with session.begin_nested():
            _copy(session, table, rows)
    except psycopg2.Error:
        return _insert(session, table, rows)
    return len(rows)


def _copy(session: Session, table: type[Base], rows: Sequence[Row]) -> None:
    connection = session.connection()
    quote = connection.dialect.identifier_preparer.quote
    columns = ", ".join(map(quote, rows[0]))
    statement = f"COPY {quote(table.__tablename__)} ({columns}) FROM STDIN (ENCODING 'utf8')"
    cursor: Any = connection.connection.cursor()
    try:
        cursor.copy_expert(statement, BytesIO(_lines(rows)), COPY_BUFFER_BYTES)
    except psycopg2.Error as error:
        if cursor.connection.closed:  # it cannot roll back
            connection.invalidate(error)
            raise OperationalError(statement, None, error, connection_invalidated=True) from error
        raise
    finally:
        cursor.close()


def _lines(rows: Sequence[Row]) -> bytes:
    """Return rows in the text format of COPY, with the columns of the first in its order."""
    return "".join("\t".join(_copy_text(row[column]) for column in rows[0]) + "\n" for row in rows).encode()


def _copy_text(value: object) -> str:
    """Return a value in the text format of COPY: lists must be of numbers, a mapping becomes JSON."""
    match value:
        case None:
            return r"\N"
        case bytes():
            return rf"\\x{value.hex()}"
        case list() | tuple():
            return array_text(value)
        case dict():
            return json.dumps(value).translate(COPY_ESCAPES)
        case str():
            return value.translate(COPY_ESCAPES)
    return str(value)


def _insert(session: Session, table: type[Base], rows: Sequence[Row]) -> int:
    # With ON CONFLICT, only a statement with RETURNING is sent with many rows at once.
    statement = insert(table).on_conflict_do_nothing().returning(*inspect(table).primary_key)
    return len(session.execute(statement, rows).all())
