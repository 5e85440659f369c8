"""What people decided about queued clips: rows are only added, and the latest of a content counts."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.models import DemonstrationSet, QueuedReview, ReviewDecision

Verdict = Literal["label", "none", "skip"]
Source = Literal["page", "csv", "label-studio"]

MAX_REVIEWER_LENGTH, MAX_NOTE_LENGTH = 100, 1_000
"""Characters of a name and of a note, wherever a decision comes from."""

_RECORD = text(
    """
    SELECT analytics.record_decision(:review, :verdict, :label, :note, :reviewer, :came_from,
      CAST(:shown AS jsonb), :external_id)
    """
)
_DECIDED = text(
    """
    SELECT r.content_sha256, min(r.uri), bool_or(r.drawn = 'random'), max(d.decision),
      array_agg(d.label ORDER BY d.decision DESC), array_agg(d.reviewer ORDER BY d.decision DESC)
    FROM analytics.review_decisions d JOIN analytics.reviews r ON r.review = d.review
    WHERE r.library = :library AND d.verdict <> 'skip' AND (r.drawn = 'random' OR NOT EXISTS (
      SELECT FROM analytics.reviews o
      WHERE o.library = r.library AND o.content_sha256 = r.content_sha256 AND o.drawn = 'random'))
    GROUP BY r.content_sha256 ORDER BY max(d.decision)
    """
)
_LEARNED = text(
    """
    SELECT coalesce(
      (SELECT max((r.parameters ->> 'decisions')::bigint) FROM runs r
       WHERE r.kind = 'learn-library' AND r.status = 'completed'
         AND r.summary ->> 'to' = v.name || '@' || v.version),
      (SELECT max(d.id) FROM review_decisions d WHERE d.decided_at < v.created_at), 0)
    FROM demonstration_sets v WHERE v.id = :version
    """
)


@dataclass(frozen=True)
class NewDecision:
    """A decision to store. `label` is given with the verdict `label` alone."""

    review_id: int
    verdict: Verdict
    label: str | None
    note: str | None
    reviewer: str
    came_from: str
    shown: Mapping[str, Any]
    external_id: str


@dataclass(frozen=True)
class Opinion:
    """What one decision said; no label means none of the labels."""

    label: str | None
    reviewer: str


@dataclass(frozen=True)
class DecidedClip:
    """What counts of a content: the latest decision that is no skip, and the earlier ones, latest first.

    `is_random` if it was ever drawn at random: then it measures, and is never demonstrated, and what was
    decided where it was chosen, beside its answer, does not count.
    """

    content_sha256: bytes
    uri: str
    is_random: bool
    decision: int
    latest: Opinion
    earlier: tuple[Opinion, ...]

    @property
    def label(self) -> str | None:
        """The label that counts."""
        return self.latest.label

    @property
    def is_disputed(self) -> bool:
        """Whether decisions differ."""
        return any(one.label != self.latest.label for one in self.earlier)


@dataclass(frozen=True)
class OwnDecision:
    """What a person said about a queued clip."""

    verdict: Verdict
    label: str | None
    note: str | None


def queued_reviews(session: Session, reviews: Collection[int]) -> dict[int, tuple[str, int]]:
    """Return the library and version of queued clips, by their ids; unknown ids are left out."""
    row, stored = QueuedReview, DemonstrationSet
    found = session.execute(
        select(row.id, stored.name, stored.version)
        .join(stored, stored.id == row.demonstration_set_id)
        .where(row.id.in_(reviews))
    )
    return {review: (name, version) for review, name, version in found}


def own_decisions(
    session: Session, source: Source, reviews: Collection[int]
) -> dict[tuple[int, str], list[OwnDecision]]:
    """Return what each person decided about queued clips by a source, the latest last, by review and name."""
    row = ReviewDecision
    found: dict[tuple[int, str], list[OwnDecision]] = defaultdict(list)
    columns = (row.review_id, row.reviewer, row.verdict, row.label, row.note)
    for review, reviewer, *own in session.execute(
        select(*columns).where(row.review_id.in_(reviews), row.source == source).order_by(row.id)
    ):
        found[review, reviewer].append(OwnDecision(*own))
    return dict(found)


def external_ids(session: Session, source: Source, reviews: Collection[int]) -> list[str]:
    """Return the names that stored decisions about queued clips have where they came from."""
    row = ReviewDecision
    found = select(row.external_id).where(row.review_id.in_(reviews), row.source == source)
    return list(session.scalars(found))


def add_decisions(session: Session, source: Source, decisions: Iterable[NewDecision]) -> int:
    """Write decisions as the flows, and return how many were new."""
    rows = [{**vars(one), "shown": dict(one.shown), "source": source} for one in decisions]
    if not rows:
        return 0
    new = insert(ReviewDecision).on_conflict_do_nothing().returning(ReviewDecision.id)
    return len(session.scalars(new, rows).all())


def record_decision(session: Session, decision: NewDecision, shown: str) -> bool:
    """Write a decision as an analyst, by the one function that may. Return whether it was new."""
    values = {**vars(decision), "review": decision.review_id, "shown": shown}
    return session.scalar(_RECORD, values) is not None


def decided_clips(session: Session, library: str) -> list[DecidedClip]:
    """Return what people decided about clips of a library, of any version, the earliest decision first."""
    return [
        DecidedClip(bytes(content), uri, is_random, decision, *_opinions(labels, reviewers))
        for content, uri, is_random, decision, labels, reviewers in session.execute(
            _DECIDED, {"library": library}
        )
    ]


def last_learned(session: Session, version: int) -> int:
    """Return the last decision that a library version (a row's id) was made with, 0 if there was none.

    Of a version that was imported it is the last one before the import.
    """
    return int(session.scalars(_LEARNED, {"version": version}).one())


def _opinions(labels: list[str | None], reviewers: list[str]) -> tuple[Opinion, tuple[Opinion, ...]]:
    latest, *earlier = (Opinion(*pair) for pair in zip(labels, reviewers, strict=True))
    return latest, tuple(earlier)
