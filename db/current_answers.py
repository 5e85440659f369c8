"""Comparison of the kept current answers with their definition."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_COLUMNS = (
    "content_sha256, task, library, prediction_id, label, margin, status, is_promoted, is_chosen, "
    "is_demonstration, created_at"
)
_DIFFERENCES = text(
    f"""
    SELECT count(*) FROM (
      (SELECT {_COLUMNS} FROM current_answers EXCEPT SELECT {_COLUMNS} FROM current_answers_defined)
      UNION ALL
      (SELECT {_COLUMNS} FROM current_answers_defined EXCEPT SELECT {_COLUMNS} FROM current_answers)
    ) AS differences
    """  # noqa: S608  the columns are ours
)


def count_differences(session: Session) -> int:
    """Return the number of rows that the table of current answers has, or lacks, against its definition."""
    return int(session.scalars(_DIFFERENCES).one())
