"""Takes the rows of one trial out of the database again, whatever tables refer to them."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, or_, text
from sqlalchemy.orm import Session

from db.base import Base
from db.models import LabelMotif, PastAnswer

Ids = Mapping[str, list[Any]]
"""What to delete, by the table that has it."""

_FIND: Mapping[str, str] = {
    "clips": "SELECT id FROM clips WHERE uri ^@ :root",
    "contents": """
        SELECT DISTINCT content_sha256 FROM clips c WHERE uri ^@ :root AND content_sha256 IS NOT NULL
        AND NOT EXISTS (SELECT FROM clips o WHERE o.content_sha256 = c.content_sha256 AND NOT o.uri ^@ :root)
    """,
    "demonstration_sets": "SELECT id FROM demonstration_sets WHERE name = :name",
    "runs": """
        WITH RECURSIVE own AS (
          SELECT id FROM runs WHERE partition_key || parameters::text LIKE '%' || :name || '%'
          UNION SELECT r.id FROM runs r JOIN own ON r.parameters ->> 'run' = own.id::text
            OR r.parameters ->> 'night' = own.id::text)
        SELECT id FROM own""",
}


def delete_trial(session: Session, root: str, name: str) -> None:
    """Delete all rows about the clips below `root` and the library `name`, as the database's owner."""
    ids = {table: _found(session, query, root, name) for table, query in _FIND.items()}
    for table in reversed(Base.metadata.sorted_tables):
        conditions = list(_conditions(table, ids))
        if conditions:
            session.execute(delete(table).where(or_(*conditions)))
    for kept in (PastAnswer, LabelMotif):  # by name, and by triggers while the rest is deleted
        session.execute(delete(kept).where(kept.library == name))


def _found(session: Session, query: str, root: str, name: str) -> list[Any]:
    given = {key: value for key, value in {"root": root, "name": name}.items() if f":{key}" in query}
    return list(session.scalars(text(query), given))


def _conditions(table: Table, ids: Ids) -> Iterable[ColumnElement[bool]]:
    """Yield what makes a row of the table one of these, or one that refers to them."""
    if table.name in ids:
        (key,) = table.primary_key.columns
        yield key.in_(ids[table.name])
    for foreign in table.foreign_keys:
        if foreign.column.table.name in ids and foreign.column.primary_key:
            yield foreign.parent.in_(ids[foreign.column.table.name])
