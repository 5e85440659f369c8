"""Days whose labels are counted once, so that questions about many days add up few rows."""

from datetime import date

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from db.engine import session_scope

_TAKE = text("SELECT take_marked_day()")
_COUNT = text("SELECT count_taken_day(:day)")
_PATIENCE = text("SET LOCAL statement_timeout = '1h'")
"""A day of a million clips takes longer than other statements may."""
_DIFFERENCES = text(
    """
    SELECT count(*) FROM (SELECT DISTINCT day FROM clips) AS days, LATERAL (
      (SELECT n.library, n.task, n.label, n.status, n.clips FROM analytics.label_counts n
          WHERE n.day = days.day
        EXCEPT SELECT n.library, n.task, n.label, n.status, n.clips FROM analytics.labels_of_day(days.day) n)
      UNION ALL
      (SELECT n.library, n.task, n.label, n.status, n.clips FROM analytics.labels_of_day(days.day) n
        EXCEPT SELECT n.library, n.task, n.label, n.status, n.clips FROM analytics.label_counts n
          WHERE n.day = days.day)
    ) AS differences
    """
)


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
    return int(session.scalars(_DIFFERENCES).one())
