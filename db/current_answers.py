"""Comparison of the kept current answers with their definition."""

from sqlalchemy import text
from sqlalchemy.orm import Session

_DIFFERENCES = text(
    """
    SELECT count(*) FROM (
      (TABLE current_answers EXCEPT TABLE current_answers_defined)
      UNION ALL (TABLE current_answers_defined EXCEPT TABLE current_answers)) AS differences
    """
)


def count_differences(session: Session) -> int:
    """Return the number of rows that the table of current answers has, or lacks, against its definition."""
    return int(session.scalars(_DIFFERENCES).one())
