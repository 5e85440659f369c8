"""One run of a partition at a time. Unique keys keep rows right without it; it avoids doing work twice."""

import hashlib
import os
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from threading import Lock
from typing import Any

from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.engine import CONNECT_TIMEOUT_SECONDS, database_url

HOLDER_QUERY = text(
    """
    SELECT a.application_name, a.backend_start, r.id AS run_id
    FROM pg_locks l
    JOIN pg_stat_activity a USING (pid)
    LEFT JOIN runs r ON r.partition_key = :key AND r.status = 'running'
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
      AND ((l.classid::bigint << 32) | l.objid::bigint) = :number
    ORDER BY r.started_at DESC NULLS LAST
    LIMIT 1
    """
)


HELD_QUERY = text(
    """
    SELECT EXISTS (
        SELECT FROM pg_locks l
        WHERE l.pid = pg_backend_pid() AND l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
          AND ((l.classid::bigint << 32) | l.objid::bigint) = :number
    )
    """
)


HELD_NUMBERS_QUERY = text(
    """
    SELECT (l.classid::bigint << 32) | l.objid::bigint FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1
    """
)


class PartitionBusy(RuntimeError):
    """Another process works on the partition."""


class PartitionLock:
    """A partition held by this process for the life of one connection."""

    def __init__(self, connection: Connection, key: str) -> None:
        self._connection, self._key = connection, key
        self._asking = Lock()
        _take(connection, key)

    def check(self) -> None:
        """Lock the partition again if its connection was cut.

        Raises PartitionBusy if another process has it.
        """
        with self._asking:
            if not self._is_held():
                _take(self._connection, self._key)

    def _is_held(self) -> bool:
        try:
            return bool(self._connection.scalar(HELD_QUERY, {"number": _number(self._key)}))
        except DBAPIError:
            self._connection.rollback()  # lets the next statement connect again
            return False


@contextmanager
def partition_lock(url: str, key: str) -> Iterator[PartitionLock]:
    """Hold the partition `key` for the block. Raises PartitionBusy at once if another process has it.

    The lock belongs to a connection of its own, outside any pool and without a statement timeout, and ends
    with it: a killed process holds nothing.
    """
    engine = create_engine(
        database_url(url),
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "application_name": f"wordwave pid {os.getpid()} on {socket.gethostname()}"[:63],
            # The server notices within two minutes that a holder's machine went away without a word.
            "options": "-c tcp_keepalives_idle=60 -c tcp_keepalives_interval=15 -c tcp_keepalives_count=4",
        },
    )
    with engine.connect() as connection:
        lock = PartitionLock(connection, key)
        try:
            yield lock
        finally:
            _give_back(connection, key)


def held_keys(session: Session, keys: Iterable[str]) -> set[str]:
    """Return those of the partitions that some process holds now."""
    held = set(session.scalars(HELD_NUMBERS_QUERY))
    return {key for key in keys if _number(key) in held}


def _number(key: str) -> int:
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], signed=True)


def _give_back(connection: Connection, key: str) -> None:
    """Unlock at once: the server notices a closed connection later, when the next run may have begun."""
    with suppress(DBAPIError):  # a connection that is gone holds nothing
        connection.scalar(text("SELECT pg_advisory_unlock(:number)"), {"number": _number(key)})


def _take(connection: Connection, key: str) -> None:
    number = _number(key)
    if connection.scalar(text("SELECT pg_try_advisory_lock(:number)"), {"number": number}):
        return
    holder = connection.execute(HOLDER_QUERY, {"key": key, "number": number}).one_or_none()
    raise PartitionBusy(
        f"partition {key} is held by {_describe_holder(holder)}: wait for it to end, then run again"
    )


def _describe_holder(holder: Any) -> str:
    """Return the process, its run and its start, if the server shows them to this role."""
    if holder is None:
        return "a process that has just ended"
    run = f", run {holder.run_id}" if holder.run_id else ""
    start = holder.backend_start
    since = f", connected since {start:%Y-%m-%d %H:%M:%S %Z}" if start else ""
    return f"{holder.application_name or 'a process of another database role'}{run}{since}"
