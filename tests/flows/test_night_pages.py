"""The pages of nights, as people know them."""

from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from hypothesis import given

from db.nights import CompletedRun
from flows.night_pages import night_page
from flows.stages.run import OpenRun
from flows.stages.summary import EarlierNight, NightSummary
from tests.flows.test_artifacts import EMPHASIS, MARKUP, render

PAGES = Path(__file__).with_name("pages")
THEN = NightSummary(
    labels={"dog bark": 30, "rain": 10},
    uncertain=4,
    mean_margin=0.5,
    agreement={"nearest": 0.9},
    quarantined={},
)
NOW = NightSummary(
    labels={"dog bark": 40, "a|b <i>": 40},
    uncertain=20,
    mean_margin=0.4125,
    agreement={"nearest": 0.75, "nearest_latent": 0.8},
    quarantined={"silent": 3, "truncated": 1},
)
EMPTY = NightSummary(labels={}, uncertain=0, mean_margin=None, agreement={}, quarantined={})


def earlier(summary: NightSummary, day: date | None = date(2026, 11, 21)) -> EarlierNight:
    began = datetime(2026, 11, 22, 2, tzinfo=UTC)
    return EarlierNight(CompletedRun(UUID(int=1), day, began, 60.0, {}, vars(summary)), summary)


def night(summary: NightSummary) -> Any:
    """A finished night, as far as its page reads it."""
    run = OpenRun(UUID(int=2), manifest="s3://results/runs/2/manifest.json", seconds=90.0)
    run.counts.update(
        {
            "ingest.new": 84,
            "tokenize.tokenized": 79,
            "tokenize.same_bytes": 1,
            "tokenize.quarantined": 1,
            "tokenize.quarantined:silent": 1,
            "label.labeled": 79,
        }
    )
    labelling = SimpleNamespace(request=SimpleNamespace(min_margin=0.2))
    return SimpleNamespace(labelling=labelling, run=run, summary=summary)


def known(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def test_the_page_of_a_night_shows_it_beside_the_night_before() -> None:
    assert night_page("s3://calls/2026-11-22", night(NOW), earlier(THEN)) + "\n" == known("night")


def test_the_first_night_and_an_empty_one_have_a_page_too() -> None:
    assert "No night of this prefix and library" in night_page("s3://calls", night(NOW), None)
    page = night_page("s3://calls", night(EMPTY), earlier(THEN, day=None))
    assert "2026-11-22 02:00 had 40 answers: nothing to compare." in page
    assert "Nothing waits for replay." in page


@given(MARKUP)
def test_a_label_leads_nowhere(label: str) -> None:
    odd = NightSummary({f"x{label}x": 1}, 0, 0.5, {}, {})
    plain = NightSummary({"x": 1}, 0, 0.5, {}, {})
    pages = [render(night_page("here", night(one), earlier(one))) for one in (odd, plain)]
    tags = [[tag for tag in page.tags if tag not in EMPHASIS] for page in pages]
    assert tags[0] == tags[1]
