"""Nights and the series that they belong to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.orm import Session

_COLUMNS = """
  run, flow_run, kind, prefix, place, day, begins, ends, library, library_version, status, started_at,
  finished_at, seconds, answered, uncertain, unknown, quarantined, mean_margin, agreement, labels, reasons,
  doubts
"""
_SERIES = text(
    """
    SELECT prefix, library, count(*), max(started_at) FROM analytics.nights
    WHERE prefix IS NOT NULL AND library IS NOT NULL
    GROUP BY prefix, library ORDER BY max(started_at) DESC, prefix, library LIMIT :limit
    """
)
_NIGHTS = text(
    f"""
    SELECT {_COLUMNS} FROM analytics.nights WHERE prefix = :prefix AND library = :library
    ORDER BY started_at DESC, run LIMIT :limit
    """  # noqa: S608  the columns are ours
)
_NIGHT = text(f"SELECT {_COLUMNS} FROM analytics.nights WHERE run = :run")  # noqa: S608


@dataclass(frozen=True)
class Series:
    """The nights of a place by a library. The prefix may have {day}."""

    prefix: str
    library: str
    nights: int
    latest: datetime


@dataclass(frozen=True)
class NightRow:
    """A row of the view `nights`; figures are those at the end of the run, None before it."""

    run: UUID
    flow_run: str | None
    kind: str
    prefix: str
    place: str
    day: date | None
    begins: datetime | None
    ends: datetime | None
    library: str
    library_version: str
    status: str
    started_at: datetime
    finished_at: datetime | None
    seconds: float | None
    answered: int
    uncertain: int
    unknown: int
    quarantined: int
    mean_margin: float | None
    agreement: Mapping[str, float] | None
    labels: Mapping[str, int] | None
    reasons: Mapping[str, int] | None
    doubts: Sequence[str] | None

    @property
    def labeled(self) -> int:
        """The answers that are not uncertain; unknown clips are none."""
        return self.answered - self.uncertain

    @property
    def name(self) -> str:
        """The day, or the start of a run without one."""
        return str(self.day or f"{self.started_at:%Y-%m-%d %H:%M}")


def list_series(session: Session, limit: int) -> list[Series]:
    """Return the series, the one with the latest night first."""
    return [Series(*row) for row in session.execute(_SERIES, {"limit": limit})]


def list_nights(session: Session, prefix: str, library: str, limit: int) -> list[NightRow]:
    """Return the nights of a series, the latest first."""
    values: dict[str, Any] = {"prefix": prefix, "library": library, "limit": limit}
    return [NightRow(*row) for row in session.execute(_NIGHTS, values)]


def get_night(session: Session, run: UUID) -> NightRow | None:
    """Return a night by its run, or None."""
    row = session.execute(_NIGHT, {"run": run}).one_or_none()
    return None if row is None else NightRow(*row)
