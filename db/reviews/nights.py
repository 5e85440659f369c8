"""The last nights of a library's places, and the clips in them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import text
from sqlalchemy.orm import Session

_NIGHTS = text(
    """
    SELECT place, begins, ends FROM (
      SELECT place, begins, ends, row_number() OVER (
        PARTITION BY prefix ORDER BY coalesce(begins, latest) DESC, latest DESC) AS number
      FROM (
        SELECT prefix, place, begins, ends, max(started_at) AS latest FROM analytics.nights
        WHERE library = :library AND kind = 'nightly-labeling' AND status = 'completed'
        GROUP BY prefix, place, begins, ends) AS nights) AS numbered
    WHERE number <= :nights ORDER BY place, begins
    """
)
_URIS = text(
    """
    SELECT uri FROM clips
    WHERE missing_since IS NULL AND (uri = :place OR starts_with(uri, :folder))
      AND (CAST(:begins AS timestamptz) IS NULL OR last_modified >= :begins AND last_modified < :ends)
    ORDER BY uri
    """
)
_CURRENT = text(
    """
    SELECT content_sha256, label, status FROM current_answers
    WHERE library = :library AND task = 'label' AND content_sha256 = ANY(:contents)
    """
)
_THEN = text(
    """
    SELECT content_sha256, label, status FROM (
      SELECT content_sha256, task, library, label, status, since, 'infinity'::timestamptz AS until
      FROM current_answers
      UNION ALL
      SELECT content_sha256, task, library, label, status, since, until FROM past_answers) AS spans
    WHERE library = :library AND task = 'label' AND content_sha256 = ANY(:contents)
      AND since <= :moment AND until > :moment
    """
)
_ANSWERED = text(
    """
    SELECT label, count(*) FROM current_answers
    WHERE library = :library AND task = 'label' AND NOT is_demonstration AND status <> 'unknown'
    GROUP BY label
    """
)


@dataclass(frozen=True)
class PastNight:
    """The clips of a night: those of a place, or those of it last modified in a span of time."""

    place: str
    begins: datetime | None
    ends: datetime | None


@dataclass(frozen=True)
class CurrentLabel:
    """The current answer about a content."""

    label: str
    status: str


def last_nights(session: Session, library: str, nights: int) -> list[PastNight]:
    """Return the last completed nights of each place of a library, of any version."""
    return [PastNight(*row) for row in session.execute(_NIGHTS, {"library": library, "nights": nights})]


def uris_of_nights(session: Session, nights: Sequence[PastNight]) -> dict[str, list[str]]:
    """Return the uris of the clips that are there now by place."""
    found: dict[str, dict[str, None]] = {}
    for night in nights:
        values = {**vars(night), "folder": f"{night.place.rstrip('/')}/"}
        found.setdefault(night.place, {}).update(dict.fromkeys(session.scalars(_URIS, values)))
    return {place: sorted(uris) for place, uris in found.items()}


def current_labels_of(
    session: Session, library: str, contents: Collection[bytes]
) -> dict[bytes, CurrentLabel]:
    """Return the current answers about contents by a library."""
    values = {"library": library, "contents": sorted(contents)}
    return {bytes(content): CurrentLabel(*row) for content, *row in session.execute(_CURRENT, values)}


def labels_of_then(
    session: Session, library: str, contents: Collection[bytes], moment: datetime
) -> dict[bytes, CurrentLabel]:
    """Return the answers about contents by a library that were the current ones at a moment."""
    values = {"library": library, "contents": sorted(contents), "moment": moment}
    return {bytes(content): CurrentLabel(*row) for content, *row in session.execute(_THEN, values)}


def answered_labels(session: Session, library: str) -> dict[str, int]:
    """Return how many current answers of a library there are by label; unknown clips have none."""
    rows = session.execute(_ANSWERED, {"library": library})
    return {str(label): int(count) for label, count in rows}
