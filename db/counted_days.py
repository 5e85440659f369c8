"""Days whose labels are counted once, so that questions about many days add up few rows."""

from datetime import date

from sqlalchemy import Engine, TextClause, text
from sqlalchemy.orm import Session

from db.engine import session_scope

_TAKE = text("SELECT take_marked_day()")
_COUNT = text("SELECT count_taken_day(:day)")
_PATIENCE = text("SET LOCAL statement_timeout = '1h'")
"""A day of a million clips takes longer than other statements may."""
_LABELS = "library, task, label, status, clips"
_AGREEMENT = (
    "library, task, version, codec_fingerprint, llm_fingerprint, other_version, other_codec_fingerprint, "
    "other_llm_fingerprint, label, other_label, clips"
)


def _differences(view: str, of_day: str, columns: str) -> TextClause:
    """Return the query that counts the rows that a view has, or lacks, against what a day is counted by."""
    shown = f"SELECT {columns} FROM analytics.{view} WHERE day = days.day"  # noqa: S608  the names are ours
    counted = f"SELECT {columns} FROM analytics.{of_day}(days.day)"  # noqa: S608
    return text(
        f"""
        SELECT count(*) FROM (SELECT DISTINCT day FROM clips) AS days, LATERAL (
          ({shown} EXCEPT {counted}) UNION ALL ({counted} EXCEPT {shown})
        ) AS differences
        """  # noqa: S608
    )


_LABEL_DIFFERENCES = _differences("label_counts", "labels_of_day", _LABELS)
_AGREEMENT_DIFFERENCES = _differences("agreement", "agreement_of_day", _AGREEMENT)


def count_marked_days(engine: Engine) -> int:
    """Count the days that changed since they were counted, and return their number.

    Stops while others write clips or answers, and at a day that they mark again: views count the marked days
    until a later call does.
    """
    counted: set[date] = set()
    while (day := _take(engine)) and day not in counted:
        with session_scope(engine) as session:
            session.execute(_PATIENCE)
            session.execute(_COUNT, {"day": day})
        counted.add(day)
    return len(counted)


def _take(engine: Engine) -> date | None:
    with session_scope(engine) as session:
        taken: date | None = session.scalars(_TAKE).one()
    return taken


def count_day_differences(session: Session) -> int:
    """Return the number of counts of labels that are not as the clips and answers of their days say."""
    return int(session.scalars(_LABEL_DIFFERENCES).one())


def count_agreement_differences(session: Session) -> int:
    """Return the number of counts of agreement that are not as the clips and answers of their days say."""
    return int(session.scalars(_AGREEMENT_DIFFERENCES).one())
