"""The overview of all places, and the nights of one."""

from collections.abc import Sequence
from dataclasses import dataclass

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from db.explorer.clips import list_libraries
from db.explorer.nights import NightRow, Series, list_nights, list_series
from flows.pipeline.runs.days import DAY
from flows.server.explorer.charts import Chart, share_chart
from flows.server.explorer.query import needed_text, reading
from flows.server.explorer.rendering import page

MAX_SERIES, MAX_LIBRARIES = 40, 200
RECENT_NIGHTS, MAX_NIGHTS = 30, 400
NIGHTS_IN_TABLE = 7


@dataclass(frozen=True)
class Card:
    """A place by a library: its latest nights, and their charts."""

    series: Series
    nights: Sequence[NightRow]
    charts: Sequence[Chart]

    @property
    def place(self) -> str:
        """The folder above the folders of days."""
        return place_of(self.series.prefix)


def place_of(prefix: str) -> str:
    """Return the folder above the first part with {day}."""
    return prefix.partition(DAY)[0].rpartition("/")[0] if DAY in prefix else prefix.rstrip("/")


def overview(request: Request) -> Response:
    """Show every place with its latest nights."""
    with reading(request) as session:
        found = list_series(session, MAX_SERIES)
        cards = [
            _card(one, list_nights(session, one.prefix, one.library, RECENT_NIGHTS), NIGHTS_IN_TABLE)
            for one in found
        ]
        libraries = list_libraries(session, MAX_LIBRARIES)
    return page("overview.html", cards=cards, libraries=libraries, most=MAX_SERIES)


def nights(request: Request) -> Response:
    """Show the nights of a place by a library."""
    prefix, library = needed_text(request, "prefix"), needed_text(request, "library")
    with reading(request) as session:
        found = list_nights(session, prefix, library, MAX_NIGHTS)
    if not found:
        raise HTTPException(404, "No night of this place was run by this library.")
    series = Series(prefix, library, len(found), found[0].started_at)
    return page("nights.html", card=_card(series, found, MAX_NIGHTS), most=MAX_NIGHTS)


def _card(series: Series, nights: Sequence[NightRow], in_table: int) -> Card:
    return Card(series, nights[:in_table], charts_of(nights))


def charts_of(nights: Sequence[NightRow]) -> list[Chart]:
    """Return agreement and shares over the completed nights; `nights` has the latest first."""
    done = [
        night for night in reversed(nights) if night.status == "completed" and night.agreement is not None
    ]
    names = [night.name for night in done]
    baselines = list(dict.fromkeys(name for night in done for name in night.agreement or {}))
    agreement = {name: [(night.agreement or {}).get(name) for night in done] for name in baselines}
    shares = {
        "uncertain": [_share(night.uncertain, night.answered) for night in done],
        "quarantined": [_share(night.quarantined, night.answered + night.quarantined) for night in done],
    }
    if any(night.unknown for night in done):
        shares["unknown"] = [_share(night.unknown, night.answered) for night in done]
    charts = (
        share_chart("Agreement with baselines", names, agreement),
        share_chart("Uncertain and set aside", names, shares),
    )
    return [chart for chart in charts if chart]


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None
