"""The pages of nights, as people know them."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock
from uuid import UUID

from hypothesis import example, given

from db.labeler_choices import StoredChoice
from db.night_change import MovedLabel, NightChange
from db.run_history import CompletedRun
from db.runs import RunClaim
from flows.artifacts.night_pages import listen_line, night_page, plan_page, plan_rows, review_line
from flows.pipeline.nights.bounds import Figure
from flows.pipeline.nights.earlier import EarlierNight
from flows.pipeline.nights.plan import NightPlan, State
from flows.pipeline.nights.preview import Pace, Preview, PromptPreview
from flows.pipeline.nights.summary import NightSummary
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runs.run import OpenRun
from tests.flows.artifacts.test_pages import EMPHASIS, MARKUP, render

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
    by_labeler={"class mean <b>": 0.9, "nearest tokens": 0.5},
)
EMPTY = NightSummary(labels={}, uncertain=0, mean_margin=None, agreement={}, quarantined={})


CHOICE = StoredChoice(
    labeler="mixture",
    calibration={"temperature": 2.0, "bias": []},
    reason="mixture: 83 % of 18 left-out <i> demonstrations right",
    measured={
        "candidates": [
            {
                "name": name,
                "answers": 18,
                "accuracy": accuracy,
                "interval": None if accuracy is None else [0.6, 0.9],
                "calibration_error": None if accuracy is None else 0.04,
                "lead": 0.01,
                "bound": -0.02,
                "calibration": {"temperature": 2.0, "bias": []},
                "note": "",
            }
            for name, accuracy in {"mixture": 0.83, "class mean <b>": 0.8, "few-shot": None}.items()
        ],
        "name": "mixture",
        "reason": "",
        "unknown": None,
    },
    chosen_by="run",
)
CHANGE = NightChange(
    shared=30,
    moved=[
        MovedLabel("dog bark", "a|b <i>", 2, ["s3://calls/[x](y).wav", "s3://calls/b.wav"]),
        MovedLabel("rain", "dog bark", 1, ["s3://calls/c.wav"]),
    ],
    only_before={"rain": 9, "dog bark": 1},
    only_now={"dog bark": 20, "a|b <i>": 30},
    library_before="sounds@1",
    library_now="sounds@2",
)


def earlier(
    summary: NightSummary, day: date | None = date(2026, 11, 21), change: NightChange | None = None
) -> EarlierNight:
    began = datetime(2026, 11, 22, 2, tzinfo=UTC)
    return EarlierNight(CompletedRun(UUID(int=1), day, began, 60.0, {}, vars(summary)), summary, change)


def night(summary: NightSummary) -> Any:
    """A finished night, as far as its page reads it."""
    claim = RunClaim(UUID(int=2), attempt=1)
    run = OpenRun(claim, Mock(), Mock(), manifest="s3://results/runs/2/manifest.json", seconds=90.0)
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
    setup = SimpleNamespace(
        request=SimpleNamespace(min_margin=0.2, labeler="default"),
        answering=SimpleNamespace(is_automatic=True, choice=CHOICE, method="mixture"),
    )
    labeling = SimpleNamespace(setup=setup)
    figures = [
        Figure("40 of 80 answers are a|b <i>", 0.5, 0.8),
        Figure("clips, of which no usual number is known yet", None, 0.5, is_least=True),
        Figure("4 of 84 clips are quarantined", 4 / 84, 0.02),
    ]
    answers = range(summary.clips + 1)
    return SimpleNamespace(
        labelings=SimpleNamespace(is_multi_label=False),
        labeling=labeling,
        run=run,
        summary=summary,
        figures=figures,
        answers=answers,
    )


def known(name: str) -> str:
    return (PAGES / f"{name}.md").read_text()


def seen(prompt: str = "### Input: < river about >\nOutput:", **changes: Any) -> Preview:
    """A plan of fourteen clips to do, beside eight hundred that are done."""
    states: dict[str, State] = {"s3://calls/new.wav": "new", "s3://calls/<i>.wav": "quarantined"}
    values: dict[str, Any] = {
        "partition": partition_of("s3://calls/{day}", "2026-11-22"),
        "counts": Counter({"new": 12, "changed": 2, "done": 800, "quarantined": 1}),
        "clips": states,
        "reasons": {"s3://calls/<i>.wav": "silent"},
        "relisted": 2,
    }
    words = {"dog|bark": "two"}
    shown = PromptPreview(prompt, words, False, 1204, 1260, 2048)
    if not prompt:
        shown = PromptPreview(why_none="no LLM is set")
    return Preview(NightPlan(**(values | changes)), [3, 12, 400], shown, Pace(0.07, 10))


def canaries() -> Any:
    library = SimpleNamespace(demonstrations=["a clip"] * 6)
    return SimpleNamespace(library=library, name="canaries@1", least_accuracy=0.8)


def test_the_page_of_a_plan_shows_what_would_be_done() -> None:
    assert plan_page(seen(), canaries()) + "\n" == known("plan")


def test_a_long_prompt_is_shown_by_its_beginning_and_its_end() -> None:
    page = plan_page(seen("a" * 2000 + "b" * 5000 + "c" * 600), None)
    assert "... 5000 characters ..." in page
    assert f"    {'a' * 2000}\n    ... 5000 characters ...\n    {'c' * 600}\n" in page
    assert len(page) < 4000


def test_a_plan_without_a_past_or_a_prompt_says_so() -> None:
    first = replace(seen(""), pace=None)
    assert "the time is unknown until a run with these models" in plan_page(first, None)
    assert "No prompt to show: no LLM is set." in plan_page(first, None)


@given(MARKUP)
@example("```\n# x\n```")
@example("x\r\n\r\n[x](http://elsewhere)")
def test_a_prompt_leads_nowhere(text: str) -> None:
    page = render(plan_page(seen(f"x{text}x"), None))
    assert page.tags == render(plan_page(seen("x"), None)).tags


def test_time_is_told_in_minutes_where_there_is_work() -> None:
    assert "- 1 clips to work on, about a minute (0.07" in plan_page(seen(counts=Counter({"new": 1})), None)
    assert "- 0 clips to work on\n" in plan_page(seen(counts=Counter({"done": 1})), None)


def test_the_table_of_a_plan_begins_with_what_there_is_to_do() -> None:
    rows = plan_rows(seen().plan)
    assert [(row["state"], row["reason"]) for row in rows] == [("new", ""), ("quarantined", "silent")]
    assert rows[1]["clip"] == "s3://calls/<\u200bi>.wav"


def test_the_page_of_a_night_shows_it_beside_the_night_before() -> None:
    page = night_page("s3://calls/2026-11-22", night(NOW), earlier(THEN, change=CHANGE))
    assert page + "\n" == known("night")


def test_the_first_night_and_an_empty_one_have_a_page_too() -> None:
    assert "No night of this prefix and library" in night_page("s3://calls", night(NOW), None)
    idle = night(EMPTY)
    idle.run.counts.clear()
    page = night_page("s3://calls", idle, earlier(THEN, day=None))
    assert "nothing was left to work on" in page
    assert "The library version of 2026-11-22 02:00 is not known: only the shares" in page
    assert "Nothing waits for replay." in page
    page = night_page("s3://calls", night(NOW), earlier(EMPTY))
    assert "2026-11-21 had 0 answers: nothing to compare." in page


def test_of_nights_without_a_common_clip_no_label_is_said_to_have_moved() -> None:
    other = replace(CHANGE, shared=0, moved=[], library_before="sounds@2")
    page = night_page("s3://calls", night(NOW), earlier(THEN, change=other))
    assert "No clip is in both 2026-11-21 and this night, so no label changed." in page
    assert "sounds@2" not in page
    same = replace(CHANGE, moved=[], only_before={}, only_now={})
    page = night_page("s3://calls", night(NOW), earlier(THEN, change=same))
    assert "30 clips are in both 2026-11-21 and this night" in page
    assert "The labels of 0 of them (0.0%) changed" in page
    assert "only in this night" not in page


@given(MARKUP)
def test_a_label_leads_nowhere(label: str) -> None:
    odd = NightSummary({f"x{label}x": 1}, 0, 0.5, {}, {})
    plain = NightSummary({"x": 1}, 0, 0.5, {}, {})
    pages = [render(night_page("here", night(one), earlier(one))) for one in (odd, plain)]
    tags = [[tag for tag in page.tags if tag not in EMPHASIS] for page in pages]
    assert tags[0] == tags[1]


def test_a_night_is_linked_to_its_pages_where_they_are_served() -> None:
    assert listen_line(None, UUID(int=7)) == ""
    assert f"(https://listen.example/nights/{UUID(int=7)})" in listen_line(
        "https://listen.example", UUID(int=7)
    )


def test_the_page_leads_to_the_clips_to_review_where_pages_are_served() -> None:
    assert review_line(None, "sounds") == ""
    assert "(https://listen.example/reviews?library=sounds)" in review_line(
        "https://listen.example", "sounds"
    )
