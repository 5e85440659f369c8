"""Many rows in few statements."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import inspect
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.base import Base


def insert_new(session: Session, table: type[Base], rows: Sequence[Mapping[str, Any]]) -> int:
    """Inserts the rows whose unique keys are not taken and returns how many those were.

    Rows go in in the given order: writers of rows in common give them in the same one, and then wait for
    each other instead of deadlocking.
    """
    if not rows:
        return 0
    # COPY takes a quarter of the time for token rows (benchmarks/database.py), and so does an INSERT that has
    # arrays as text: COPY's temporary table, a grant for it and a spelling of each type do not pay.
    # Only a statement that returns something is sent with many rows at once beside an ON CONFLICT.
    statement = insert(table).on_conflict_do_nothing().returning(*inspect(table).primary_key)
    return len(session.execute(statement, rows).all())
