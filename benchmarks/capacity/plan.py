"""A year of nights and one backfill, computed from measured figures: sizes, requests, hours, and walls."""

import json
from dataclasses import dataclass
from pathlib import Path

FIGURES = Path(__file__).with_name("figures.json")
NIGHTS = 365
LISTED_AT_ONCE = 1_000
"""Keys that S3 lists in one request."""
WRITTEN_A_NIGHT = 10
"""Objects that a night writes at most: exports, manifest, page and files of the lake."""
PRICE_OF_GETS, PRICE_OF_OTHERS = 0.0004, 0.005
"""Dollars per 1,000 GETs, and per 1,000 LISTs and PUTs: a list price of S3 Standard. Yours may differ."""
HOURS_A_NIGHT = 24
MEMORY_BYTES = 8 * 10**9
"""Of a worker's machine, for the process that runs a night."""


@dataclass(frozen=True)
class Figure:
    """A measured number, with the command and the day that docs/benchmarks.md has for it, and its words."""

    value: float
    unit: str
    what: str
    command: str
    date: str
    says: str


@dataclass(frozen=True)
class Load:
    """Clips that arrive: all of them, and how many a night has."""

    name: str
    clips: int
    clips_a_night: int

    @property
    def nights(self) -> int:
        """Number of nights."""
        return self.clips // self.clips_a_night


YEAR = Load("a year of 100,000 clips a night", NIGHTS * 10**5, 10**5)
BACKFILL = Load("a backfill of 100 million clips, a million a night", 10**8, 10**6)


def read_figures() -> dict[str, Figure]:
    """Return the measured figures by name."""
    values = json.loads(FIGURES.read_text(encoding="utf-8"))
    return {name: Figure(**figure) for name, figure in values.items()}


@dataclass(frozen=True)
class Wall:
    """What ends at a number of clips, and the clips that a load has of that kind: a night's, or all."""

    what: str
    limit: float
    needed: int

    def __lt__(self, other: "Wall") -> bool:
        return self.share < other.share

    @property
    def share(self) -> float:
        """The limit as a multiple of what is needed: under 1 it is reached."""
        return self.limit / self.needed


class Plan:
    """What a load takes, by measured figures."""

    def __init__(self, load: Load, figures: dict[str, Figure]) -> None:
        self.load = load
        self.figures = figures

    def gigabytes(self, name: str) -> float:
        """Return the size of what grows by a figure's bytes with each clip."""
        return self.load.clips * self.figures[name].value / 1e9

    @property
    def gets(self) -> int:
        """Objects read: each clip once."""
        return self.load.clips

    @property
    def other_requests(self) -> int:
        """Pages listed, each night those of its own clips, and objects written."""
        return self.load.clips // LISTED_AT_ONCE + self.load.nights * WRITTEN_A_NIGHT

    @property
    def request_dollars(self) -> float:
        """Price of all requests."""
        return (self.gets * PRICE_OF_GETS + self.other_requests * PRICE_OF_OTHERS) / 1000

    @property
    def hours(self) -> dict[str, float]:
        """Return worker hours by models, of one worker with two cores."""
        figures = self.figures
        seconds = {
            "mini models, clips of 1 s": 1 / figures["night_short"].value,
            "mini models, clips of 5 s": 1 / figures["night_long"].value,
            "released codec and a LLaMA of 106 M, clips of 10 s, computing alone": (
                figures["released_encode"].value + figures["llm_label"].value
            ),
            "writing of codes alone": 1 / figures["write"].value,
        }
        return {name: self.load.clips * value / 3600 for name, value in seconds.items()}

    def workers(self, name: str) -> float:
        """Return the workers that a night needs to end within a day, with these models."""
        return self.hours[name] / self.load.nights / HOURS_A_NIGHT

    @property
    def walls(self) -> list[Wall]:
        """Return what ends, the nearest first."""
        figures, day, load = self.figures, HOURS_A_NIGHT * 3600, self.load
        computing = figures["released_encode"].value + figures["llm_label"].value
        a_night = {
            "one worker of the released shape on a CPU, clips of 10 s": day / computing,
            "one worker of the mini models, clips of 5 s": day * figures["night_long"].value,
            "one worker of the mini models, clips of 1 s": day * figures["night_short"].value,
            "memory of 8 GB for the process of a night": MEMORY_BYTES / figures["night_memory"].value,
            "one writer into Postgres": day * figures["write"].value,
        }
        measured = Wall("questions in SQL, measured up to here", figures["sql"].value, load.clips)
        return sorted([measured, *(Wall(what, limit, load.clips_a_night) for what, limit in a_night.items())])
