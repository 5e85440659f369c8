"""The analysts' views as sources of dbt, with freshness and tests."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import yaml
from sqlalchemy import NullPool, create_engine

from docs.generator.schema import VIEW_COLUMNS

SOURCE = "wordwave"
HEADER = """# Sources of dbt (1.10.5 or newer): the views of analytics. Written by python -m docs.generator.
# A night is late after 36 hours; leave freshness out where there is none every day.
"""
FRESHNESS: Mapping[str, str] = {
    "clips": "first_seen",
    "labels": "created_at",
    "runs": "started_at",
    "tokens": "created_at",
}
"""The column that tells how new the rows of a view are."""
STATUSES = {
    "labels": ["labeled", "uncertain", "unknown"],
    "lake_labels": ["labeled", "uncertain", "unknown", "quarantined"],
    "runs": ["running", "completed", "failed", "cancelled"],
}
KEYS: Mapping[str, str] = {"clips": "uri", "runs": "run", "nights": "run"}
"""The column that is unique among the rows of a view."""
REFERENCES: Mapping[tuple[str, str], tuple[str, str]] = {
    ("labels", "run"): ("runs", "run"),
    ("labels", "uri"): ("clips", "uri"),
    ("least_sure", "uri"): ("clips", "uri"),
    ("nights", "run"): ("runs", "run"),
    ("tokens", "uri"): ("clips", "uri"),
}
"""A column of a view -> the one of which it has values only."""


def sources_file(database_url: str) -> str:
    """Return sources.yml; the database must be at the newest schema."""
    with create_engine(database_url, poolclass=NullPool).connect() as connection:
        columns = connection.execute(VIEW_COLUMNS).tuples().all()
    views = [_view(list(group)) for _, group in groupby(columns, key=lambda column: column[0])]
    source = {"name": SOURCE, "schema": "analytics", "loader": SOURCE, "tables": views}
    text: str = yaml.safe_dump(
        {"version": 2, "sources": [source]}, sort_keys=False, allow_unicode=True, width=110
    )
    return HEADER + text


def _view(columns: Sequence[Any]) -> dict[str, Any]:
    name, comment = columns[0][:2]
    view: dict[str, Any] = {"name": name, "description": comment or ""}
    if name in FRESHNESS:
        late = {"warn_after": {"count": 36, "period": "hour"}}
        view |= {"loaded_at_field": FRESHNESS[name], "freshness": late}
    return view | {"columns": [_column(name, column, note) for _, _, column, _, note in columns]}


def _column(view: str, name: str, comment: str | None) -> dict[str, Any]:
    column = {"name": name} | ({"description": comment} if comment else {})
    tests = list(_tests(view, name))
    return column | ({"data_tests": tests} if tests else {})


def _tests(view: str, column: str) -> Iterable[Any]:
    if KEYS.get(view) == column:
        yield from ("unique", "not_null")
    if column == "status" and view in STATUSES:
        yield {"accepted_values": {"arguments": {"values": STATUSES[view]}}}
    if (view, column) in REFERENCES:
        other, field = REFERENCES[view, column]
        arguments = {"to": f"source('{SOURCE}', '{other}')", "field": field}
        yield {"relationships": {"arguments": arguments}}
