"""What there is to watch, over all runs, as analysts may read it: numbers without any name of a clip."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.orm import Session

_QUERY = text("SELECT figure, kind, stage, detail, value FROM analytics.figures ORDER BY 1, 2, 3, 4")


@dataclass(frozen=True)
class FigureRow:
    """One number of the view `figures`; what it does not tell apart is empty."""

    name: str
    kind: str
    stage: str
    detail: str
    value: float


def read_figures(session: Session) -> Sequence[FigureRow]:
    """Read all figures."""
    return [FigureRow(*row) for row in session.execute(_QUERY)]
