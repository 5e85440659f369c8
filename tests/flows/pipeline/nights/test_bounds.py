"""Bounds of a place: which nights they are for, and what is said of a figure beyond one."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.exc import DBAPIError

from db.engine import session_scope
from db.models import Run
from db.watches import Bounds
from flows.pipeline.nights.bounds import bounds_of, doubts, judge, raise_doubts, set_bounds
from flows.pipeline.nights.summary import NightSummary
from flows.pipeline.runs.partition import Partition, partition_of
from flows.pipeline.runs.verdict import DoubtfulNight
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows

DAY = date(2026, 11, 28)
NIGHT = NightSummary(
    labels={"dog": 38, "rain": 2},
    uncertain=10,
    mean_margin=0.5,
    agreement={"nearest": 0.12, "nearest_latent": 0.6},
    quarantined={"truncated": 10},
)
EMPTY = NightSummary({}, 0, None, {}, {})


def told(runtime: Runtime, night: NightSummary = NIGHT, least_clips: int = 1, **bounds: Any) -> list[str]:
    """What is said of a night on a Saturday."""
    if bounds:
        set_bounds(runtime, "s3://calls/{day}", bounds)
    figures = judge(
        runtime, run(runtime, DAY), partition_of("s3://calls/{day}", str(DAY)), night, least_clips
    )
    return doubts(figures)


def run(runtime: Runtime, day: date, clips: int | None = None, status: str = "running") -> UUID:
    """A night's row."""
    run_id = uuid4()
    others: dict[str, object] = {"uncertain": 0, "mean_margin": None, "agreement": {}, "quarantined": {}}
    with session_scope(runtime.engine) as session:
        session.execute(
            insert(Run).values(
                id=run_id,
                kind="nightly-labeling",
                partition_key="here",
                code_version="0.1.0",
                parameters={"prefix": "s3://calls/{day}"},
                day=day,
                status=status,
                summary={"labels": {"dog": clips}, **others} if clips else None,
                finished_at=None if status == "running" else day,
            )
        )
    return run_id


def test_a_place_without_bounds_has_no_doubts(runtime: Runtime) -> None:
    assert told(runtime) == []


@pytest.mark.parametrize(
    ("bound", "holding", "said"),
    [
        ({"max_quarantined": 0.1}, 0.2, "10 of 50 clips are quarantined (20%, at most 10%)"),
        ({"max_uncertain": 0.2}, 0.25, "10 of 40 answers are uncertain (25%, at most 20%)"),
        ({"max_one_label": 0.9}, 0.95, "38 of 40 answers are dog (95%, at most 90%)"),
        (
            {"least_agreement": 0.5},
            0.12,
            "agreement with the nearest demonstration by tokens (12%, at least 50%)",
        ),
    ],
)
def test_a_figure_beyond_its_bound_is_said(
    runtime: Runtime, bound: dict[str, Any], holding: float, said: str
) -> None:
    assert told(runtime, **bound) == [said]
    held: dict[str, Any] = dict.fromkeys(bound, holding)
    assert told(runtime, **held) == []


def test_clips_are_compared_with_the_usual_number_of_the_weekday(runtime: Runtime) -> None:
    bounds: dict[str, Any] = {"least_usual": 0.5, "most_usual": 2.0}
    assert told(runtime, **bounds) == [], "nothing is usual yet"
    for weeks, clips in {1: 200, 2: 104, 3: 100, 4: 96, 5: 9}.items():
        run(runtime, DAY - timedelta(weeks=weeks), clips, "completed")
    run(runtime, DAY - timedelta(days=1), 9, "completed")
    run(runtime, DAY - timedelta(weeks=1), 9, "failed")
    assert told(runtime) == ["50 clips, where 102 are usual on a Saturday (49.02%, at least 50%)"]
    many = NightSummary({"dog": 204}, 0, None, {}, {})
    assert told(runtime, many) == []
    assert told(runtime, NightSummary({"dog": 205}, 0, None, {}, {})) == [
        "205 clips, where 102 are usual on a Saturday (201%, at most 200%)"
    ]


def test_a_night_of_fewer_clips_than_it_has_to_have_is_doubtful(runtime: Runtime) -> None:
    assert told(runtime, least_clips=51) == ["50 clips (50, at least 51)"]
    assert told(runtime, least_clips=50) == []


def test_a_night_without_answers_says_nothing_of_their_shares(runtime: Runtime) -> None:
    bounds = {"max_uncertain": 0.0, "max_one_label": 0.0, "least_agreement": 1.0, "max_quarantined": 0.0}
    assert told(runtime, EMPTY, least_clips=0, **bounds) == []


def test_all_doubts_are_raised_together(runtime: Runtime) -> None:
    set_bounds(runtime, "s3://calls/{day}", {"max_quarantined": 0.0, "max_one_label": 0.0})
    partition = partition_of("s3://calls/{day}", str(DAY))
    with pytest.raises(DoubtfulNight, match=r"are quarantined .*; 38 of 40 answers are dog"):
        raise_doubts(judge(runtime, run(runtime, DAY), partition, NIGHT, 1))


@pytest.mark.parametrize(
    ("watched", "night", "is_for_it"),
    [
        ("s3://calls/{day}", partition_of("s3://calls/{day}", "2026-11-28"), True),
        ("s3://calls/{day}/", partition_of("s3://calls/{day}/", "2026-11-28"), True),
        ("s3://calls/{day}", partition_of("s3://calls/2026-11-28"), True),
        ("s3://calls/{day}", partition_of("s3://calls/{day}/in", "2026-11-28"), True),
        ("s3://calls", partition_of("s3://calls/{day}", "2026-11-28"), True),
        ("s3://calls", partition_of("s3://calls", "2026-11-28"), True),
        ("/data/{day}/in", partition_of("/data/{day}/in", "2026-11-28"), True),
        ("s3://calls/{day}", partition_of("s3://calls"), False),
        ("s3://calls/{day}", partition_of("s3://calls/other"), False),
        ("s3://call", partition_of("s3://calls"), False),
        ("s3://c.lls", partition_of("s3://calls"), False),
    ],
)
def test_bounds_are_for_their_place_and_what_is_in_it(
    runtime: Runtime, watched: str, night: Partition, is_for_it: bool
) -> None:
    set_bounds(runtime, watched, {"max_uncertain": 0.5})
    assert (bounds_of(runtime, night) != Bounds()) == is_for_it


def test_the_nearest_place_counts_and_its_latest_row(runtime: Runtime) -> None:
    set_bounds(runtime, "s3://calls/{day}", {"max_uncertain": 0.5})
    set_bounds(runtime, "s3://calls", {"max_uncertain": 0.1})
    set_bounds(runtime, "s3://calls/{day}", {"max_quarantined": 0.2})
    night = partition_of("s3://calls/{day}", "2026-11-28")
    assert bounds_of(runtime, night) == Bounds(max_uncertain=0.5, max_quarantined=0.2)
    history = "SELECT place, max_uncertain, max_quarantined FROM watches ORDER BY id"
    assert rows(runtime.engine, history) == [
        ("s3://calls/{day}", 0.5, 1.0),
        ("s3://calls", 0.1, 1.0),
        ("s3://calls/{day}", 0.5, 0.2),
    ]


@pytest.mark.parametrize("statement", ["UPDATE watches SET place = ''", "DELETE FROM watches"])
def test_what_was_set_is_never_changed(runtime: Runtime, statement: str) -> None:
    set_bounds(runtime, "s3://calls", {"max_uncertain": 0.5})
    with pytest.raises(DBAPIError, match="permission denied"):
        rows(runtime.engine, statement)


def test_a_local_place_is_the_same_however_it_is_spelled(runtime: Runtime, folder: Path) -> None:
    set_bounds(runtime, f"{folder.parent}/./clips/{{day}}", {"max_uncertain": 0.5})
    assert bounds_of(runtime, partition_of(f"{folder}/{{day}}", "2026-11-28")).max_uncertain == 0.5
