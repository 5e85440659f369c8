"""Search of clips by the words of their semantic codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, TextClause, text
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from db.explorer.clips import Scope

INVALID_PARAMETER_VALUE = "22023"
"""The SQLSTATE by which the functions refuse a pattern."""
EVERYWHERE = Scope("", "")
_FOUND = """
analytics.find_words(:pattern, :place, coalesce(CAST(:begins AS timestamptz), '-infinity'),
  coalesce(CAST(:ends AS timestamptz), 'infinity'), :limit)
"""
_CLIPS = text(f"SELECT clip_id, uri, duration, starts FROM {_FOUND} ORDER BY uri")  # noqa: S608  ours
_CONTENTS = text(f"SELECT DISTINCT content_sha256 FROM {_FOUND}")  # noqa: S608


class BadPattern(ValueError):
    """The pattern cannot be searched for; the message says why."""


@dataclass(frozen=True)
class WordHit:
    """A clip that has the words, and the seconds at which they begin."""

    clip_id: int
    uri: str
    duration: float
    starts: Sequence[float]


def find_words(session: Session, pattern: str, scope: Scope, limit: int) -> list[WordHit]:
    """Return up to `limit` clips that are there and have the words. Raises BadPattern."""
    return [WordHit(*row) for row in _found(session, _CLIPS, pattern, scope, limit)]


def find_contents(session: Session, pattern: str, scope: Scope, limit: int) -> list[bytes]:
    """Return the digests of contents of up to `limit` clips that have the words. Raises BadPattern."""
    return [bytes(row[0]) for row in _found(session, _CONTENTS, pattern, scope, limit)]


def _found(session: Session, query: TextClause, pattern: str, scope: Scope, limit: int) -> Sequence[Row[Any]]:
    try:
        with session.begin_nested():
            return session.execute(query, {**scope.values, "pattern": pattern, "limit": limit}).all()
    except DataError as error:
        if error.orig.pgcode != INVALID_PARAMETER_VALUE:  # type: ignore[union-attr]
            raise
        raise BadPattern(error.orig.diag.message_primary) from error  # type: ignore[union-attr]
