"""A watchdog that ends overdue sessions of analysts, who can change every timeout of the server."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import click
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.analysts import end_overdue
from db.engine import make_engine, session_scope

logger = logging.getLogger(__name__)
LONGEST = timedelta(minutes=10)
EVERY_SECONDS = 30.0


@contextmanager
def watchdog(url: str) -> Iterator[threading.Thread]:
    """Watch analysts in a thread of this process, as the writer, until the block ends."""
    done = threading.Event()
    thread = threading.Thread(target=_watch, args=(url, done), name="watchdog", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        done.set()


def _watch(url: str, done: threading.Event) -> None:
    engine = make_engine(url, "wordwave watchdog")
    while not done.wait(EVERY_SECONDS):
        try:
            for line in _end_overdue(engine):
                click.echo(line, err=True)
        except Exception:  # nobody would notice that the thread has ended
            logger.exception("analysts were not watched this time")
    engine.dispose()


def _end_overdue(engine: Engine) -> list[str]:
    """Return what was ended, as lines; a database that is away is asked again the next time."""
    try:
        with session_scope(engine) as session:
            ended = end_overdue(session, LONGEST)
    except SQLAlchemyError as error:
        reason = str(getattr(error, "orig", error)).strip().splitlines()
        return [f"analysts are not watched: {reason[0] if reason else type(error).__name__}"]
    limit = f"the limit is {LONGEST.total_seconds():.0f} s"
    return [
        f"ended an analyst's session (process {one.pid}, {one.state}): its transaction lasted "
        f"{one.lasted.total_seconds():.0f} s, {limit}"
        for one in ended
    ]
