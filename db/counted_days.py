"""Days whose labels are counted once, so that questions about many days add up few rows."""

from datetime import date

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session

from db.engine import session_scope

_COUNT = text("SELECT count_marked_day()")
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
    """Count the days that changed since they were counted, each in a transaction of its own.

    Return their number. Days that others write at the time are left for the next call.
    """
    days = 0
    while True:
        with session_scope(engine) as session:
            if count_marked_day(session) is None:
                return days
        days += 1


def count_marked_day(session: Session) -> date | None:
    """Count the earliest day that changed since it was counted, and return it.

    Returns None if there is none, or while others write clips or answers: then views count it when they are
    asked. Writers wait until the transaction ends.
    """
    counted: date | None = session.scalars(_COUNT).one()
    return counted


def count_day_differences(session: Session) -> int:
    """Return the number of counts of labels that are not as the clips and answers of their days say."""
    return int(session.scalars(_DIFFERENCES).one())
