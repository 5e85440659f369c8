"""The change of labels between two nights: by clip if both have it, in shares otherwise."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.models import DemonstrationSet, Run

EXAMPLES_PER_PAIR = 3

_SIDE = """
SELECT c.uri, c.content_sha256, p.label, p.margin
FROM clips c CROSS JOIN LATERAL (
  SELECT p.label, p.margin FROM predictions p
  WHERE p.content_sha256 = c.content_sha256 AND p.task = 'label' AND p.retracted_by_run IS NULL
    AND p.demonstration_set_id = :{side}_library AND p.created_at <= :{side}_end
  ORDER BY p.run_id = :{side}_run DESC, p.created_at DESC, p.id DESC LIMIT 1) p
WHERE (c.uri = :{side}_place OR starts_with(c.uri, :{side}_place || '/'))
  AND c.first_seen <= :{side}_end AND (c.missing_since IS NULL OR c.missing_since > :{side}_end)
  AND (CAST(:{side}_from AS timestamptz) IS NULL OR c.last_modified >= :{side}_from)
  AND (CAST(:{side}_to AS timestamptz) IS NULL OR c.last_modified < :{side}_to)
"""
"""The clips of a night as they were at its end, each with its answer at that time by the night's library: one
of the night itself, else the latest before.
"""

_CHANGE = f"""
WITH earlier AS MATERIALIZED ({_SIDE.format(side="then")}),
later AS MATERIALIZED ({_SIDE.format(side="now")}),
contents AS (SELECT DISTINCT ON (content_sha256) * FROM earlier ORDER BY content_sha256, uri),
matched AS (
  SELECT n.uri, n.margin, n.label AS now, coalesce(u.label, b.label) AS before
  FROM later n
  LEFT JOIN earlier u ON u.uri = n.uri
  LEFT JOIN contents b ON b.content_sha256 = n.content_sha256
  UNION ALL
  SELECT NULL, NULL, NULL, e.label FROM earlier e
  WHERE NOT EXISTS (SELECT FROM later n WHERE n.uri = e.uri)
    AND NOT EXISTS (SELECT FROM later n WHERE n.content_sha256 = e.content_sha256))
SELECT before, now, count(*),
  (array_agg(uri ORDER BY margin DESC, uri) FILTER (WHERE before <> now))[1:{EXAMPLES_PER_PAIR}]
FROM matched GROUP BY before, now ORDER BY count(*) DESC, before, now
"""  # noqa: S608  made of the text above


@dataclass(frozen=True)
class MovedLabel:
    """The number of clips of both nights with another label than before, and the surest of them as
    examples.
    """

    before: str
    now: str
    clips: int
    examples: Sequence[str]


@dataclass(frozen=True)
class NightChange:
    """Clips of both nights, by uri or by content; labels of the others, and the library of each night.

    `only_before` and `only_now` count the labels of clips that only one night has.
    """

    shared: int
    moved: Sequence[MovedLabel]
    only_before: Mapping[str, int]
    only_now: Mapping[str, int]
    library_before: str
    library_now: str


def compare_nights(session: Session, before: UUID, now: UUID) -> NightChange | None:
    """Return the change from one completed night to a later one, or None if a library is unknown."""
    earlier, later = session.get_one(Run, before), session.get_one(Run, now)
    libraries = _library(session, earlier), _library(session, later)
    if None in libraries:
        return None
    sides = _side(earlier, libraries[0], "then") | _side(later, libraries[1], "now")
    rows = session.execute(text(_CHANGE), sides).all()
    both = [row for row in rows if row[0] is not None and row[1] is not None]
    return NightChange(
        shared=sum(count for _, _, count, _ in both),
        moved=[MovedLabel(*row) for row in both if row[0] != row[1]],
        only_before=Counter({old: count for old, new, count, _ in rows if new is None}),
        only_now=Counter({new: count for old, new, count, _ in rows if old is None}),
        library_before=str(earlier.parameters["library"]),
        library_now=str(later.parameters["library"]),
    )


def _library(session: Session, run: Run) -> int | None:
    name, _, version = str(run.parameters["library"]).partition("@")
    stored = DemonstrationSet
    return session.scalar(select(stored.id).where(stored.name == name, stored.version == int(version or 0)))


def _side(run: Run, library: int | None, side: str) -> dict[str, Any]:
    place, start = _place(run)
    values = {
        "library": library,
        "run": run.id,
        "end": run.finished_at,
        "place": place,
        "from": start,
        "to": start and start + timedelta(days=1),
    }
    return {f"{side}_{key}": value for key, value in values.items()}


def _place(run: Run) -> tuple[str, datetime | None]:
    """Return the place of a run's clips and, for the clips of a day, the beginning of that day."""
    name = run.partition_key.removeprefix(f"{run.kind} ")
    if run.day is None or "{day}" in run.parameters["prefix"]:
        return name, None
    place, _, start = name.rpartition(" ")
    return place, datetime.fromisoformat(start)
