"""Bounds that a team sets for the nights of a place: rows are added and never changed, the latest counts."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from db.models import Watch


@dataclass(frozen=True)
class Bounds:
    """Shares beyond which a night is doubtful; the defaults bound nothing.

    `max_quarantined` is of the clips, `max_uncertain` and `max_one_label` are of the answers. Each nearest
    neighbor has to agree with `least_agreement` of the answers. `least_usual` and `most_usual` are multiples
    of the usual number of clips of that weekday; `most_usual` 0 allows any number. `max_unknown` is of the
    answers. `keep_days` bounds no night: contents that no listing had for so many days are forgotten, 0 keeps
    them for ever.
    """

    max_quarantined: float = 1.0
    max_uncertain: float = 1.0
    max_one_label: float = 1.0
    least_agreement: float = 0.0
    least_usual: float = 0.0
    most_usual: float = 0.0
    max_unknown: float = 1.0
    keep_days: int = 0


def add_watch(session: Session, place: str, bounds: Bounds) -> None:
    """Set the bounds of a place from now on."""
    session.execute(insert(Watch).values(place=place, **asdict(bounds)))


def current_bounds(session: Session) -> Mapping[str, Bounds]:
    """Return the latest bounds of each place."""
    columns = (getattr(Watch, field.name) for field in fields(Bounds))
    latest = select(Watch.place, *columns).distinct(Watch.place).order_by(Watch.place, Watch.id.desc())
    return {place: Bounds(*values) for place, *values in session.execute(latest)}
