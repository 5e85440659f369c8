"""Connections: one spelling of the address, timeouts on every statement, one place that commits."""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Engine, create_engine, make_url
from sqlalchemy.orm import Session

DRIVER = "postgresql+psycopg2"
CONNECT_TIMEOUT_SECONDS = 10
STATEMENT_TIMEOUT_SECONDS = 60


def database_url(value: str) -> str:
    """The address with the driver we ship spelled out; ValueError when it is not a Postgres address."""
    url = make_url(value)
    if url.get_backend_name() not in ("postgresql", "postgres"):
        raise ValueError(
            f"the database address starts with {url.drivername}://, it has to be postgresql://user:password@host/name"
        )
    return url.set(drivername=DRIVER).render_as_string(hide_password=False)


def make_engine(url: str, application_name: str = "wordwave") -> Engine:
    """A pooled engine. The name is what the server shows beside each of its connections."""
    return create_engine(
        database_url(url),
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": application_name,
            "options": f"-c statement_timeout={STATEMENT_TIMEOUT_SECONDS}s",
        },
    )


@contextmanager
def session_scope(engine: Engine) -> Iterator[Session]:
    """One transaction: committed when the block ends, rolled back when it raises. Nothing else commits."""
    with Session(engine, expire_on_commit=False) as session, session.begin():
        yield session
