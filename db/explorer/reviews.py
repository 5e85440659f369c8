"""Queues of clips to review as pages show them, and decisions as an analyst may write them."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

from db.reviews.decisions import NewDecision, record_decision

_QUEUES = text(
    """
    SELECT library, version, count(*) FILTER (WHERE is_open), count(*) FILTER (WHERE verdict IS NOT NULL),
      min(review) FILTER (WHERE is_open), max(created_at)
    FROM analytics.reviews r
    WHERE run = (
      SELECT run FROM analytics.reviews n WHERE n.library = r.library ORDER BY review DESC LIMIT 1)
    GROUP BY library, version ORDER BY library LIMIT :limit
    """
)
_COLUMNS = """
  review, library, version, run, position, drawn, reason, uri, content_sha256, label, margin, status, answer,
  is_open, verdict, decided_label, reviewer, decisions, is_disputed
"""
_REVIEW = text(f"SELECT {_COLUMNS} FROM analytics.reviews WHERE review = :review")  # noqa: S608
_QUEUE = text(
    f"SELECT {_COLUMNS} FROM analytics.reviews WHERE run = :run ORDER BY position"  # noqa: S608
)
_CLIP = text(
    """
    SELECT clip_id FROM analytics.clips WHERE content_sha256 = :content AND missing_since IS NULL
    ORDER BY uri <> :uri, uri LIMIT 1
    """
)
_LABELS = text(
    "SELECT DISTINCT label FROM analytics.demonstrations WHERE library = :library AND version = :version "
    "AND label IS NOT NULL ORDER BY label LIMIT :limit"
)
_ACCURACY = text(
    """
    SELECT version, week, label, reviews, "right", accuracy, accuracy_low, accuracy_high
    FROM analytics.review_accuracy WHERE library = :library
    ORDER BY version DESC, week DESC NULLS FIRST, label NULLS FIRST LIMIT :limit
    """
)
_LESSON = text(
    """
    SELECT run, from_version, to_version, decided, moved, would_change, is_in_use, gain, gain_low, gain_high,
      questions, suspects, disputed, contradictions, scores, finished_at,
      run IN (SELECT c.run FROM analytics.comparisons c) AS is_compared
    FROM analytics.lessons WHERE library = :library ORDER BY finished_at DESC LIMIT 1
    """
)


@dataclass(frozen=True)
class PastLesson:
    """The last version that a library learned; `moved` is None if it was not put into use.

    `is_compared` says whether its run has a page of what it moves; the oldest have none.
    """

    run: UUID
    from_version: int
    to_version: int
    decided: int
    moved: int | None
    would_change: int
    is_in_use: bool
    gain: float
    gain_low: float
    gain_high: float
    questions: int
    suspects: Sequence[str]
    disputed: int
    contradictions: int
    scores: Mapping[str, Mapping[str, float]]
    finished_at: datetime
    is_compared: bool


@dataclass(frozen=True)
class Queue:
    """The newest queue of a library: clips that wait, clips that were decided, and the first that waits."""

    library: str
    version: int
    waiting: int
    decided: int
    first: int | None
    made_at: datetime


@dataclass(frozen=True)
class Review:
    """A queued clip with the answer that is judged, and what was decided last."""

    review: int
    library: str
    version: int
    run: Any
    position: int
    drawn: str
    reason: str
    uri: str
    content_sha256: bytes
    label: str
    margin: float
    status: str
    answer: int
    is_open: bool
    verdict: str | None
    decided_label: str | None
    reviewer: str | None
    decisions: int
    is_disputed: bool

    @property
    def is_random(self) -> bool:
        """Whether it measures the answers: then nobody is told the answer before deciding."""
        return self.drawn == "random"


@dataclass(frozen=True)
class Accuracy:
    """The accuracy of a version's answers in random reviews; no week: all weeks, no label: all labels."""

    version: int
    week: date | None
    label: str | None
    reviews: int
    right: int
    accuracy: float
    low: float
    high: float


def list_queues(session: Session, limit: int) -> list[Queue]:
    """Return the newest queue of each library."""
    return [Queue(*row) for row in session.execute(_QUEUES, {"limit": limit})]


def get_review(session: Session, review: int) -> Review | None:
    """Return a queued clip, or None."""
    row = session.execute(_REVIEW, {"review": review}).one_or_none()
    return None if row is None else _review(row)


def list_queue(session: Session, run: Any) -> list[Review]:
    """Return all clips of the queue that a run made, in order."""
    return [_review(row) for row in session.execute(_QUEUE, {"run": run})]


def clip_of(session: Session, review: Review) -> int | None:
    """Return the id of a clip that has the queued content now, or None if none is there."""
    found: int | None = session.scalar(_CLIP, {"content": review.content_sha256, "uri": review.uri})
    return found


def list_version_labels(session: Session, library: str, version: int, limit: int) -> list[str]:
    """Return the labels of a library version, sorted."""
    return list(session.scalars(_LABELS, {"library": library, "version": version, "limit": limit}))


def list_accuracy(session: Session, library: str, limit: int) -> list[Accuracy]:
    """Return the accuracy by version, week and label, the newest first."""
    return [Accuracy(*row) for row in session.execute(_ACCURACY, {"library": library, "limit": limit})]


def last_lesson(session: Session, library: str) -> PastLesson | None:
    """Return the last version that a library learned from reviews, or None."""
    row = session.execute(_LESSON, {"library": library}).one_or_none()
    return None if row is None else PastLesson(*row)


def decide(session: Session, decision: NewDecision) -> bool:
    """Write a decision, and return whether it was new."""
    return record_decision(session, decision, json.dumps(decision.shown))


def _review(row: Any) -> Review:
    values: tuple[Any, ...] = tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)
    return Review(*values)
