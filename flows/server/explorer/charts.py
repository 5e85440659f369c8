"""Small line charts as geometry for inline SVG."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 300, 84
LEFT, RIGHT, TOP, BOTTOM = 42, 8, 8, 16


@dataclass(frozen=True)
class Mark:
    """A point of a line, and what it says."""

    x: float
    y: float
    text: str


@dataclass(frozen=True)
class Line:
    """A named line. Its number decides the color, the dashes and the shape of its marks."""

    name: str
    number: int
    paths: Sequence[str]
    marks: Sequence[Mark]
    last: float | None


@dataclass(frozen=True)
class Chart:
    """Shares over nights, the earliest at the left."""

    title: str
    lines: Sequence[Line]
    first: str
    last: str
    ticks: Sequence[tuple[str, float]]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM

    @property
    def summary(self) -> str:
        """The chart in a sentence."""
        ends = [f"{line.name} {line.last:.0%}" for line in self.lines if line.last is not None]
        return f"{self.title}, {self.first} to {self.last}; at the last night {', '.join(ends) or 'nothing'}"


def share_chart(
    title: str, nights: Sequence[str], shares: Mapping[str, Sequence[float | None]]
) -> Chart | None:
    """Return a chart of shares, 0 to 1, by name; None without two nights that have one."""
    known = [share for values in shares.values() for share in values if share is not None]
    if len(nights) < 2 or len(known) < 2:
        return None
    top = _top(max(known))
    lines = [_line(name, number, nights, values, top) for number, (name, values) in enumerate(shares.items())]
    ticks = [(f"{100 * share:g} %", _y(share, top)) for share in (0.0, top)]
    return Chart(title, lines, nights[0], nights[-1], ticks)


def _top(largest: float) -> float:
    """Return the end of the scale: a round number that is not far above."""
    return next(top for top in (0.05, 0.1, 0.25, 0.5, 1.0) if largest <= top)


def _line(name: str, number: int, nights: Sequence[str], values: Sequence[float | None], top: float) -> Line:
    places = [
        None if share is None else Mark(_x(at, len(nights)), _y(share, top), f"{nights[at]}: {share:.1%}")
        for at, share in enumerate(values)
    ]
    marks = [place for place in places if place is not None]
    last = next((share for share in reversed(values) if share is not None), None)
    return Line(name, number % 4, _paths(places), marks, last)


def _paths(places: Sequence[Mark | None]) -> list[str]:
    """Return the points of each unbroken part of a line."""
    parts: list[list[Mark]] = [[]]
    for place in places:
        if place is None:
            parts.append([])
        else:
            parts[-1].append(place)
    return [" ".join(f"{mark.x},{mark.y}" for mark in part) for part in parts if len(part) > 1]


def _x(at: int, nights: int) -> float:
    return round(LEFT + at * (WIDTH - LEFT - RIGHT) / (nights - 1), 1)


def _y(share: float, top: float) -> float:
    return round(TOP + (1 - share / top) * (HEIGHT - TOP - BOTTOM), 1)
