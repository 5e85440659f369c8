"""Templates, and how names, numbers and times are written in them.

Every value is escaped. Names come from outside: they are shown without characters that hide or reorder text,
and long ones lose their middle.
"""

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import unquote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.responses import HTMLResponse

from flows.pipeline.runtime.printable import visible
from flows.pipeline.storage.uris import FILE, below, within

MAX_NAME_LENGTH, MAX_URI_LENGTH = 110, 600
NOTHING = "–"
"""Stands where there is no number."""


def page(template: str, *, status: int = 200, **values: object) -> HTMLResponse:
    """Render a template as a response."""
    return HTMLResponse(_environment().get_template(template).render(values), status_code=status)


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "shown": shown,
        "uri": uri_text,
        "number": number_text,
        "percent": percent,
        "fixed": fixed,
        "when": when,
        "duration": duration_text,
        "size": size,
        "short": short,
    }
    environment.globals.update(link=link, name=name_in)
    return environment


def link(path: str, **parameters: object) -> str:
    """Return an address of ours; parameters that are None, False or empty are left out."""
    given = {name: value for name, value in parameters.items() if value not in (None, "", False)}
    return f"{path}?{urlencode(given)}" if given else path


def shown(text: object, longest: int = MAX_NAME_LENGTH) -> str:
    """Return a text from outside as it can be read."""
    return visible(str(text), longest)


def uri_text(uri: str) -> str:
    """Return a whole address."""
    return visible(uri, MAX_URI_LENGTH)


def name_in(uri: str, place: str | None = None, longest: int = MAX_NAME_LENGTH) -> str:
    """Return the name of a clip within a place. Without one it is the last part of its address, in no
    certain place ("") with its folder.
    """
    parts = 1 if place is None else 2
    name = uri.removeprefix(below(place)) if place and within(uri, place) else _last(uri, parts)
    name = name or uri
    return shown(unquote(name, errors="backslashreplace") if uri.startswith(FILE) else name, longest)


def _last(uri: str, parts: int) -> str:
    return "/".join(uri.rsplit("/", parts)[1:])


def number_text(number: int | None) -> str:
    """Return a number of things."""
    return NOTHING if number is None else f"{number:,}"


def percent(part: float | None) -> str:
    """Return a share, 0 to 1. One that is not quite nothing or all does not look like it."""
    if part is None:
        return NOTHING
    if 0 < part < 0.0005 or 0.9995 < part < 1:
        return f"{100 * part:.2f} %"
    return f"{100 * part:.1f} %"


def fixed(number: float | None, digits: int = 3) -> str:
    """Return a number with a fixed number of decimals."""
    return NOTHING if number is None else f"{number:.{digits}f}"


def when(moment: datetime | None) -> str:
    """Return a moment in UTC, to the minute."""
    return NOTHING if moment is None else f"{moment.astimezone(UTC):%Y-%m-%d %H:%M}"


def duration_text(seconds: float | None) -> str:
    """Return a duration."""
    if seconds is None:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.2f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02} min"


def size(number: int) -> str:
    """Return a number of bytes."""
    return f"{number / 1e6:.2f} MB" if number >= 1e6 else f"{number / 1e3:.1f} kB"


def short(digest: bytes | str | None) -> str:
    """Return the beginning of a digest."""
    if digest is None:
        return NOTHING
    return shown((digest.hex() if isinstance(digest, bytes) else digest)[:16])
