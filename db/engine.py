"""Connections: one form of the address, a timeout for every statement, one place that commits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.orm import Session

DRIVER = "postgresql+psycopg2"
CONNECT_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_SECONDS = 60


class UnfitDatabase(ValueError):
    """The database answers but cannot be used; the message has the remedy."""


def database_url(value: str) -> str:
    """Return the address with our driver spelled out. Raises ValueError for other databases than Postgres."""
    url = make_url(value)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(
            f"the database address starts with {url.drivername}://, expected postgresql://user:password@host/name"
        )
    return url.set(drivername=DRIVER).render_as_string(hide_password=False)


def make_engine(url: str, application_name: str = "wordwave") -> Engine:
    """Return a pooled engine. The server shows the name with each of its connections."""
    engine = create_engine(
        database_url(url),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "client_encoding": "utf8",
            "application_name": application_name,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s",
        },
    )
    event.listen(engine, "connect", require_utf8)
    return engine


def require_utf8(connection: Any, _record: object = None) -> None:
    """Raise UnfitDatabase for a new connection of the driver to a database that cannot store every text."""
    encoding = connection.info.parameter_status("server_encoding")
    if encoding not in (None, "UTF8"):
        raise UnfitDatabase(
            f"the database's encoding is {encoding}, UTF8 is needed: "
            "make one by CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0"
        )


def unfitness(engine: Engine) -> str | None:
    """Return why jobs cannot write to a database that answers, or None if they can."""
    with engine.connect() as first, engine.connect() as second:
        if first.scalar(text("SELECT pg_is_in_recovery()")):
            return "the database is a standby, which takes no writes"
        if first.scalar(text("SHOW transaction_read_only")) == "on":
            return "the database is read-only for this role"
        if _shares_sessions(first, second):
            return "a pooler changes the session between transactions, so that no lock of a partition holds"
    return None


def _shares_sessions(first: Connection, second: Connection) -> bool:
    process = text("SELECT pg_backend_pid()")
    before = first.scalar(process)
    first.rollback()
    second.scalar(process)  # its transaction keeps the session that `first` has left, where that is shared
    return bool(first.scalar(process) != before)


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """Open one transaction: committed when the block ends, rolled back when it raises.

    Nothing else commits.
    """
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
