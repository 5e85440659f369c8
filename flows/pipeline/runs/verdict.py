"""Completed runs that cannot be trusted, which end in a state of their own."""

from typing import ClassVar

from db.clips import Selection, count_clips
from db.engine import session_scope
from flows.pipeline.runtime.resources import Runtime


class Distrusted(RuntimeError):
    """A run that completed, but whose outcome needs attention."""

    state: ClassVar[str]
    """The name of the run's state."""


class NoClips(Distrusted):
    """A run over a place that has none."""

    state = "Empty"


class DoubtfulNight(Distrusted):
    """A night with figures beyond the bounds of its place. What it wrote stays."""

    state = "Doubtful"


def no_clips(where: str) -> NoClips:
    """Return the error of a place, or a day of it, that has no clips."""
    return NoClips(
        f"no clips: none are listed in {where}. Check the prefix, and whether its clips were delivered; "
        "least_clips 0 allows a night without clips"
    )


def require_clips(runtime: Runtime, where: str, selection: Selection) -> None:
    """Raise NoClips if a listed place has no current clip."""
    with session_scope(runtime.engine) as session:
        count = count_clips(session, selection)
    if not count:
        raise no_clips(where)
