"""Queries of an analyst, and what they answer."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.engine import make_engine

ROWS_AT_A_TIME = 5_000


@dataclass(frozen=True)
class QueryResult:
    """What a query answers: columns, their types as Postgres numbers them, and rows as they arrive."""

    columns: Sequence[str]
    types: Sequence[int]
    rows: Iterator[Sequence[Any]]


@contextmanager
def answered(url: str, query: str, values: Mapping[str, str] | None = None) -> Iterator[QueryResult]:
    """Ask, and read rows while the block lasts. `values` are bound to `:name` in the query.

    Raises ValueError with Postgres' message on a bad query.
    """
    engine, values = make_engine(url, "wordwave sql"), values or {}
    try:
        with engine.connect().execution_options(yield_per=ROWS_AT_A_TIME) as connection:
            result = connection.execute(text(_with_own_colons(query, values)), dict(values))
            types: list[Any] = [column[1] for column in result.cursor.description]
            yield QueryResult(list(result.keys()), types, map(tuple, result))
    except DBAPIError as error:
        raise ValueError(str(error.orig).strip()) from error
    finally:
        engine.dispose()


def _with_own_colons(query: str, names: Collection[str]) -> str:
    """Escape each colon that is the query's own: all but one before the name of a value."""
    named = "|".join(map(re.escape, names)) or "(?!)"
    return re.sub(rf":(?!(?<!::)(?:{named})\b)", r"\:", query)
