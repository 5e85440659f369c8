"""The whole database as plain rows, and what of it has to be the same after the same work."""

from typing import Any

from sqlalchemy import NullPool, create_engine, select, text
from sqlalchemy.orm import Session

from db import models
from db.base import Base
from db.counted_days import count_day_differences
from db.current_answers import count_differences
from db.engine import database_url

Row = dict[str, Any]
Tables = dict[str, list[Row]]

CHANCE = {
    "id", "run_id", "first_run", "last_run", "retracted_by_run", "flow_run_id", "earlier_flow_runs",
    "created_at", "first_seen", "last_seen", "started_at", "finished_at", "promoted_at", "resolved_at",
    "completed_at", "used_since", "set_at",
}  # fmt: skip
"""Columns that differ between two databases in which the same was done: numbers drawn, and times."""
KEPT_BY_TRIGGERS = {
    one.__tablename__
    for one in (models.CurrentAnswer, models.DayToCount, models.LabelCountRow, models.AgreementCount)
}
OF_ATTEMPTS = {"counts", "attempts", "figures"}
"""Columns of a run that tell how often it was taken up, what each attempt found, and how long it took."""
OF_BYTES = {"selection_key", "uri", "sha256s"}
"""Columns of an export that follow from run ids and times within it; the objects are compared themselves."""


def tables(url: str) -> Tables:
    """Every row of every table, in an order that does not depend on when it was written.

    Rows that triggers keep are compared with their definition instead.
    """
    engine = create_engine(database_url(url), poolclass=NullPool)
    with Session(engine) as session:
        assert count_differences(session) == 0
        assert count_day_differences(session) == 0
        return {
            name: sorted(map(dict, session.execute(select(table)).mappings()), key=repr)
            for name, table in Base.metadata.tables.items()
            if name not in KEPT_BY_TRIGGERS
        }


def rows(url: str, query: str) -> list[Row]:
    """The answer to a query."""
    engine = create_engine(database_url(url), poolclass=NullPool)
    with engine.connect() as connection:
        found = [dict(row) for row in connection.execute(text(query)).mappings()]
    return [{name: _plain(value) for name, value in row.items()} for row in found]


def _plain(value: Any) -> Any:
    return bytes(value) if isinstance(value, memoryview) else value


def what_was_done(found: Tables) -> Tables:
    """The tables without what chance and the clock decide; rows name a clip by its uri."""
    uris = {clip["id"]: clip["uri"] for clip in found[models.Clip.__tablename__]}
    return {name: sorted((_kept(name, row, uris) for row in found[name]), key=repr) for name in found}


def _kept(table: str, row: Row, uris: dict[int, str]) -> Row:
    left_out = CHANCE | {"runs": OF_ATTEMPTS, "exports": OF_BYTES}.get(table, set())
    kept = {name: value for name, value in row.items() if name not in left_out}
    if "clip_id" in kept:
        kept["clip_id"] = uris[kept["clip_id"]]
    if "missing_since" in kept:
        kept["missing_since"] = kept["missing_since"] is not None
    return kept
