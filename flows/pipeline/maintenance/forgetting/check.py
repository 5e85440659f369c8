"""Proof of absence: a search for names in the bytes of all rows of all tables, and of all objects of results.

It trusts neither the queries nor the file formats by which things were forgotten.
"""

from collections.abc import Iterator

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.engine import session_scope
from db.forgetting import table_names
from flows.pipeline.maintenance.forgetting.files import names_are_in_file
from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.maintenance.forgetting.objects import Results
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import ObjectVersion

MAX_NAMED = 10
BYTES_AT_A_TIME = 4 * 2**20
OUT_OF_REACH = (
    "out of reach: former versions of objects in buckets that keep versions, backups, "
    "logs, events of Prefect, and copies that people took"
)


def places_naming(runtime: Runtime, names: Names) -> Iterator[str]:
    """Yield the tables and the objects that hold a name."""
    with session_scope(runtime.engine) as session:
        for table in list(table_names(session)):
            if _RowSearch(names).finds_in(session, table):
                yield f"table {table}"
    results = Results(runtime, names)
    listed = list(results.storage.list(results.root))
    found = runtime.downloads.map(lambda one: _is_named(results, one), listed)
    for one, is_named in zip(listed, found, strict=True):
        if is_named:
            yield f"object {one.uri}"


class NotForgotten(RuntimeError):
    """Something of what was forgotten is still there."""


def require_absence(runtime: Runtime, names: Names) -> None:
    """Raise NotForgotten, with the places, if a table or an object holds a name."""
    if left := list(places_naming(runtime, names)):
        raise NotForgotten(
            f"{len(left)} places still hold a name of it: {', '.join(left[:MAX_NAMED])}; a run that went on "
            "may have written it: forget it again"
        )


def _is_named(results: Results, listed: ObjectVersion) -> bool:
    if results.names.are_in(listed.uri.encode() + b"\n") or any(stem in listed.uri for stem in results.stems):
        return True
    with results.storage.read(listed.uri, listed.version_token, listed.size) as fetched:
        if fetched.sha256 in results.names.contents or results.names.are_in(fetched.path.read_bytes()):
            return True
        is_packed = listed.uri.endswith(".parquet")  # packed bytes hide names
        return is_packed and names_are_in_file(fetched.path, "parquet", results.names)


class _RowSearch:
    """A file that COPY writes a table to, row by row, in its binary form: each value as its own bytes."""

    def __init__(self, names: Names) -> None:
        self._names, self._rows, self._size, self._found = names, list[bytes](), 0, False

    def finds_in(self, session: Session, table: str) -> bool:
        """Return whether a row of a table holds a name."""
        cursor = session.connection().connection.cursor()
        session.execute(text("SET LOCAL statement_timeout = 0"))
        everything = f"COPY (SELECT * FROM {table}) TO STDOUT (FORMAT binary)"  # noqa: S608  quoted by Postgres
        cursor.copy_expert(everything, self)
        self._search()
        return self._found

    def write(self, row: bytes) -> int:
        """Take a row, and search once there are many: no value is longer than its row."""
        self._rows.append(row)
        self._size += len(row)
        if self._size >= BYTES_AT_A_TIME:
            self._search()
        return len(row)

    def _search(self) -> None:
        self._found = self._found or self._names.are_in(b"".join(self._rows))
        self._rows, self._size = [], 0
