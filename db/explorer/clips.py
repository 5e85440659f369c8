"""Lists of clips: answered ones with the least sure first, and quarantined ones."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import text
from sqlalchemy.orm import Session

TASK = "label"

IN_SCOPE = """
  c.uri >= :place AND c.uri < :last AND (c.uri = :place OR c.uri >= :first)
  AND (CAST(:begins AS timestamptz) IS NULL OR c.last_modified >= :begins AND c.last_modified < :ends)
"""
_LEAST_SURE = """
SELECT c.clip_id, c.answer, c.status FROM analytics.least_sure c
WHERE c.task = :task AND c.library = :library AND {conditions}
ORDER BY c.margin, c.answer LIMIT :limit
"""
_CONDITIONS = {
    "label": "c.label = :label",
    "most_margin": "c.margin <= :most_margin",
    "only_uncertain": "c.is_uncertain",
    # the names are read once, not one by one in the order of margins
    "name": """c.clip_id = ANY(ARRAY(
      SELECT n.clip_id FROM analytics.clips n WHERE n.uri >= :place AND n.uri < :last
        AND n.missing_since IS NULL AND position(lower(:name) IN lower(n.uri)) > 0))""",
    "contents": "c.content_sha256 = ANY(:contents)",
    "after": "(c.margin, c.answer) > (:after_margin, :after_answer)",
}
_ANSWERS = text(
    """
    SELECT c.clip_id, c.uri, c.duration, h.answer, h.label, h.probability, h.margin, h.labeler, h.baselines,
      h.is_demonstration
    FROM analytics.history h JOIN analytics.clips c ON c.content_sha256 = h.content_sha256
    WHERE h.answer = ANY(:answers) AND c.clip_id = ANY(:clips)
    """
)
_QUARANTINED = f"""
SELECT c.clip_id, c.uri, q.stage, q.reason, q.message, q.attempts, q.last_seen, c.size
FROM analytics.quarantine q JOIN analytics.clips c ON c.uri = q.uri
WHERE c.missing_since IS NULL AND {IN_SCOPE} AND {{conditions}}
ORDER BY c.uri, q.stage LIMIT :limit
"""  # noqa: S608  the conditions are ours
_REASONS = text(
    f"""
    SELECT q.reason, count(*) FROM analytics.quarantine q JOIN analytics.clips c ON c.uri = q.uri
    WHERE c.missing_since IS NULL AND {IN_SCOPE} GROUP BY q.reason ORDER BY count(*) DESC, q.reason
    """  # noqa: S608
)
_LABELS = text(
    "SELECT DISTINCT label FROM analytics.demonstrations WHERE library = :library AND label IS NOT NULL "
    "ORDER BY label LIMIT :limit"
)
_BY_LABEL = text(
    "SELECT DISTINCT library FROM analytics.demonstrations "
    "WHERE task = :task AND starts_with(library, :library || '/') ORDER BY library LIMIT :limit"
)
_LIBRARIES = text(
    "SELECT DISTINCT library FROM analytics.demonstrations WHERE task = :task ORDER BY library LIMIT :limit"
)


@dataclass(frozen=True)
class Scope:
    """The clips of a place, or those of it last modified in a span of time, and the library of interest."""

    place: str
    library: str
    begins: datetime | None = None
    ends: datetime | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The values of IN_SCOPE. Below a place are the uris between its slash and what sorts next."""
        folder = self.place.removesuffix("/")
        return {
            "place": self.place,
            "first": f"{folder}/",
            "last": f"{folder}0",
            "begins": self.begins,
            "ends": self.ends,
        }


@dataclass(frozen=True)
class ClipFilter:
    """What the answers have to match. `contents` are digests, such as those found by words."""

    label: str | None = None
    most_margin: float | None = None
    only_uncertain: bool = False
    name: str | None = None
    contents: Sequence[bytes] | None = None

    @property
    def values(self) -> dict[str, Any]:
        """The values that are set, by name."""
        return {name: value for name, value in vars(self).items() if value not in (None, False)}


@dataclass(frozen=True)
class AnsweredClip:
    """A clip with its current answer by a library."""

    clip_id: int
    uri: str
    duration: float
    answer: int
    label: str
    probability: float
    margin: float
    labeler: str
    baselines: Mapping[str, Any]
    is_demonstration: bool
    status: str


@dataclass(frozen=True)
class AsideClip:
    """A quarantined clip."""

    clip_id: int
    uri: str
    stage: str
    reason: str
    message: str
    attempts: int
    last_seen: datetime
    size: int


def list_answered(
    session: Session, scope: Scope, wanted: ClipFilter, after: tuple[float, int] | None, limit: int
) -> list[AnsweredClip]:
    """Return up to `limit` clips, the least sure first, beyond the margin and answer of `after`."""
    names = [*wanted.values, *(["after"] if after else [])]
    conditions = " AND ".join([IN_SCOPE, *(_CONDITIONS[name] for name in names)])
    values = {**scope.values, **wanted.values, "task": TASK, "library": scope.library, "limit": limit}
    if after:
        values |= {"after_margin": after[0], "after_answer": after[1]}
    found = session.execute(text(_LEAST_SURE.format(conditions=conditions)), values).all()
    rows = session.execute(
        _ANSWERS, {"answers": [row.answer for row in found], "clips": [row.clip_id for row in found]}
    )
    answers = {(row.clip_id, row.answer): row for row in rows}
    known = [row for row in found if (row.clip_id, row.answer) in answers]
    return [AnsweredClip(*(*answers[row.clip_id, row.answer], row.status)) for row in known]


def list_aside(
    session: Session, scope: Scope, reason: str | None, after: tuple[str, str] | None, limit: int
) -> list[AsideClip]:
    """Return up to `limit` quarantined clips by name, beyond the uri and stage of `after`."""
    conditions = ["true"]
    values: dict[str, Any] = {**scope.values, "limit": limit}
    if reason:
        conditions.append("q.reason = :reason")
        values["reason"] = reason
    if after:
        conditions.append("(c.uri, q.stage) > (:after_uri, :after_stage)")
        values |= {"after_uri": after[0], "after_stage": after[1]}
    query = _QUARANTINED.format(conditions=" AND ".join(conditions))
    return [AsideClip(*row) for row in session.execute(text(query), values)]


def count_reasons(session: Session, scope: Scope) -> dict[str, int]:
    """Return the number of quarantined clips by reason, the most frequent first."""
    return dict(session.execute(_REASONS, scope.values).tuples().all())


def list_labels(session: Session, library: str, limit: int) -> list[str]:
    """Return the labels of all versions of a library."""
    return list(session.scalars(_LABELS, {"library": library, "limit": limit}))


def list_libraries(session: Session, limit: int) -> list[str]:
    """Return the libraries that label."""
    return list(session.scalars(_LIBRARIES, {"task": TASK, "limit": limit}))


def list_libraries_by_label(session: Session, library: str, limit: int) -> list[str]:
    """Return the libraries of the labels of a multi-label library; any other library has none."""
    return list(session.scalars(_BY_LABEL, {"task": TASK, "library": library, "limit": limit}))
