"""What a request asks for, checked: numbers, texts, scopes and the ends of pages."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import Engine, text
from sqlalchemy.orm import Session
from starlette.exceptions import HTTPException
from starlette.requests import Request

from db.engine import session_scope
from db.explorer.clips import Scope
from db.explorer.nights import NightRow, get_night
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import StorageRefused, canonical
from flows.server.explorer.audio.sounds import Sounds

MAX_TEXT_LENGTH = 3_000
TIMEOUT = "10s"


@dataclass(frozen=True)
class Explorer:
    """What all pages share."""

    settings: Settings
    engine: Engine
    sounds: Sounds


def explorer_of(request: Request) -> Explorer:
    """Return what all pages share."""
    explorer: Explorer = request.app.state.explorer
    return explorer


@contextmanager
def reading(request: Request) -> Iterator[Session]:
    """Open a transaction that reads as an analyst, with a limit for each statement."""
    with session_scope(explorer_of(request).engine) as session:
        session.execute(text(f"SET LOCAL statement_timeout = '{TIMEOUT}'"))
        yield session


def given_text(request: Request, name: str) -> str | None:
    """Return a parameter without spaces around it, None if it is empty."""
    value = request.query_params.get(name, "").strip()
    if len(value) > MAX_TEXT_LENGTH:
        raise HTTPException(400, f"{name} has {len(value)} characters, the limit is {MAX_TEXT_LENGTH}.")
    if "\0" in value:
        raise HTTPException(400, f"{name} has a zero byte: leave it out.")
    return value or None


def needed_text(request: Request, name: str) -> str:
    """Return a parameter that a page cannot do without."""
    value = given_text(request, name)
    if value is None:
        raise HTTPException(400, f"This address lacks the parameter {name}: start from the overview.")
    return value


def given_number(request: Request, name: str, least: float, most: float) -> float | None:
    """Return a number within bounds, None if it is empty."""
    value = given_text(request, name)
    if value is None:
        return None
    try:
        number = float(value)
    except ValueError:
        number = float("nan")
    if not least <= number <= most:
        raise HTTPException(400, f"{name} is not a number from {least:g} to {most:g}: write one like 0.25.")
    return number


def clip_id_of(request: Request) -> int:
    """Return the id of a clip in the path, which the database can take."""
    number = int(request.path_params["clip"])
    if number >= 2**63:
        raise HTTPException(404, "No clip has such a number.")
    return number


def night_of(session: Session, request: Request) -> NightRow:
    """Return the night that the path names."""
    try:
        run = UUID(request.path_params["run"])
    except ValueError:
        raise HTTPException(404, "That is no id of a run.") from None
    night = get_night(session, run)
    if night is None:
        raise HTTPException(404, "No night has this id. It may be of another database.")
    return night


def scope_of_night(night: NightRow) -> Scope:
    """Return the clips of a night."""
    return Scope(night.place, night.library, night.begins, night.ends if night.begins else None)


def scope_of_place(request: Request) -> Scope:
    """Return the clips of a place that the parameters name."""
    return Scope(canonical_place(needed_text(request, "place")), needed_text(request, "library"))


def canonical_place(place: str) -> str:
    """Return a place as clips are addressed, such as file:///calls for /calls."""
    try:
        return canonical(place)
    except StorageRefused as refusal:
        raise HTTPException(400, f"{refusal}.") from None
