"""Rows of the lake's files, and the days whose files a run may have changed."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import CursorResult, text
from sqlalchemy.orm import Session

LakeKind = Literal["labels", "tokens"]
ROWS_AT_A_TIME = 5_000

_PART: Mapping[LakeKind, str] = {"labels": "library", "tokens": "codec_fingerprint"}
"""The column that tells the files of a day apart."""

_SERIES = text(
    """
    WITH same AS MATERIALIZED (
      SELECT o.id, o.started_at, o.status FROM runs r JOIN runs o ON o.kind = r.kind
        AND coalesce(o.parameters ->> 'prefix', o.partition_key)
          = coalesce(r.parameters ->> 'prefix', r.partition_key)
        AND split_part(o.parameters ->> 'library', '@', 1)
          IS NOT DISTINCT FROM split_part(r.parameters ->> 'library', '@', 1)
      WHERE r.id = :run
    ),
    before AS MATERIALIZED (
      SELECT max(started_at) AS at FROM same WHERE status = 'completed' AND id <> :run
    ),
    attempts AS MATERIALIZED (
      SELECT id, started_at FROM same WHERE started_at > coalesce((SELECT at FROM before), '-infinity')
    )
    SELECT coalesce((SELECT at FROM before), min(started_at)), array_agg(CAST(id AS text)) FROM attempts
    """
)
# the time is a parameter: of one that a subquery finds, the planner assumes that a third of all rows is newer
_CHANGED_DAYS = text(
    """
    SELECT c.day FROM current_answers a JOIN clips c USING (content_sha256)
      WHERE a.since >= :begun AND a.library = ANY(:libraries)
    UNION SELECT c.day FROM past_answers o JOIN clips c USING (content_sha256)
      WHERE o.until >= :begun AND o.library = ANY(:libraries)
    UNION SELECT c.day FROM token_sequences s JOIN clips c USING (content_sha256)
      WHERE s.run_id = ANY(CAST(:attempts AS uuid[]))
    UNION SELECT c.day FROM quarantine q JOIN clips c ON c.id = q.clip_id
      WHERE q.last_run = ANY(CAST(:attempts AS uuid[])) OR q.resolved_at >= :begun
    UNION SELECT c.day FROM clips c WHERE c.missing_since >= :begun
    """
)
_LABELED_CLIPS = text(
    """
    SELECT c.uri, c.version_token, c.size, c.content_sha256, a.label,
      (p.probabilities ->> a.label)::double precision, a.margin, a.status, a.is_demonstration, d.version,
      p.labeler, c.day, t.duration
    FROM clips c
    JOIN contents t ON t.sha256 = c.content_sha256
    JOIN current_answers a ON a.content_sha256 = c.content_sha256
    JOIN predictions p ON p.id = a.prediction_id
    JOIN demonstration_sets d ON d.id = p.demonstration_set_id
    WHERE c.missing_since IS NULL AND a.library = :library AND (c.uri = :place OR starts_with(c.uri, :folder))
    ORDER BY c.uri
    """
)
_COMMENTS = text(
    """
    SELECT a.attname, col_description(a.attrelid, a.attnum) FROM pg_attribute a
    WHERE a.attrelid = CAST(:view AS regclass) AND a.attnum > 0
      AND col_description(a.attrelid, a.attnum) IS NOT NULL
    """
)


@dataclass(frozen=True)
class LakeRows:
    """The rows of a file in uri order, and its columns with their types in Postgres and their comments."""

    columns: Sequence[str]
    types: Sequence[int]
    comments: Mapping[str, str]
    rows: Iterator[Sequence[Any]]


@contextmanager
def lake_rows(session: Session, kind: LakeKind, day: date, part: str) -> Iterator[LakeRows]:
    """Read the rows of a day and a library, or a codec by its fingerprint, while the block lasts."""
    view = f"analytics.lake_{kind}"
    comments = dict(session.execute(_COMMENTS, {"view": view}).tuples().all())
    query = text(f"SELECT * FROM {view} WHERE day = :day AND {_PART[kind]} = :part ORDER BY uri")  # noqa: S608
    result = session.execute(
        query, {"day": day, "part": part}, execution_options={"yield_per": ROWS_AT_A_TIME}
    )
    assert isinstance(result, CursorResult)
    types: list[Any] = [column[1] for column in result.cursor.description]
    yield LakeRows(list(result.keys()), types, comments, map(tuple, result))
    result.close()


def changed_days(session: Session, run: UUID, libraries: Collection[str]) -> set[date]:
    """Return the days of clips that a run worked on, or whose answer changed or that left before its end.

    Of answers, those of the libraries count.

    Changes count since the last completed run of the same series began: of what failed since then, or was
    promoted or undone, nothing may be left to do but the files.
    """
    begun, attempts = session.execute(_SERIES, {"run": run}).one()
    since = {"begun": begun, "attempts": attempts or [], "libraries": list(libraries)}
    return set(session.scalars(_CHANGED_DAYS, since))


@dataclass(frozen=True)
class LakeClip:
    """A clip that is there with its current answer by a library, and the version of its object."""

    uri: str
    version_token: str
    size: int
    content_sha256: bytes
    label: str
    probability: float
    margin: float
    status: str
    is_demonstration: bool
    version: int
    labeler: str
    day: date
    duration: float


def labeled_clips(session: Session, place: str, library: str) -> Iterator[LakeClip]:
    """Yield the labeled clips of a place by a library, in uri order."""
    found = session.execute(
        _LABELED_CLIPS,
        {"place": place, "folder": place.rstrip("/") + "/", "library": library},
        execution_options={"yield_per": ROWS_AT_A_TIME},
    )
    for row in found:
        yield LakeClip(*row)
