"""Monitoring figures over all runs, as analysts may read them: numbers without names of clips."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

_QUERY = text("SELECT figure, kind, stage, detail, value FROM analytics.figures ORDER BY 1, 2, 3, 4")


@dataclass(frozen=True)
class FigureRow:
    """One number of the view `figures`; unused dimensions are empty."""

    name: str
    kind: str
    stage: str
    detail: str
    value: float


def read_figures(session: Session) -> Sequence[FigureRow]:
    """Read all figures."""
    return [FigureRow(*row) for row in session.execute(_QUERY)]
