"""Comparisons of champion and challenger, as pages show them."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_COLUMNS = """
  run, library, champion, challenger, nights, clips, compared, changed, agreement, would_change, minutes,
  kept, moves, scores, questions, gain, gain_low, gain_high, promoted_by, finished_at
"""
_ONE = text(f"SELECT {_COLUMNS} FROM analytics.comparisons WHERE run = :run")  # noqa: S608
_OF_LIBRARY = text(
    f"SELECT {_COLUMNS} FROM analytics.comparisons WHERE library = :library "  # noqa: S608
    "ORDER BY finished_at DESC LIMIT :limit"
)
_CLIPS = text("SELECT uri, clip_id FROM analytics.clips WHERE missing_since IS NULL AND uri = ANY(:uris)")


@dataclass(frozen=True)
class SidesCompared:
    """How two sides answered the same clips; `moves` have before, after, clips and examples."""

    run: UUID
    library: str
    champion: str
    challenger: str
    nights: int
    clips: int
    compared: int
    changed: int
    agreement: float | None
    would_change: int
    minutes: float | None
    kept: Mapping[str, int]
    moves: Sequence[Mapping[str, Any]]
    scores: Mapping[str, Mapping[str, float]]
    questions: int
    gain: float
    gain_low: float
    gain_high: float
    promoted_by: str
    finished_at: datetime


def get_comparison(session: Session, run: UUID) -> SidesCompared | None:
    """Return what a run compared, or None."""
    row = session.execute(_ONE, {"run": run}).one_or_none()
    return None if row is None else SidesCompared(*row)


def list_comparisons(session: Session, library: str, limit: int) -> list[SidesCompared]:
    """Return the last comparisons of a library, the newest first."""
    return [SidesCompared(*row) for row in session.execute(_OF_LIBRARY, {"library": library, "limit": limit})]


def clips_at(session: Session, uris: Collection[str]) -> dict[str, int]:
    """Return the ids of the clips that are at these addresses now."""
    return dict(session.execute(_CLIPS, {"uris": sorted(uris)}).tuples().all())
