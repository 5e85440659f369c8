"""Completed runs: the one before, the days that lack one, and how long they took."""

from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.orm import Session

from db.models import Run
from db.predictions import save_predictions
from db.retractions import restore_run, retract_run
from db.run_history import past_runs, previous_run, unfinished_days
from tests.db.rows import make_codec, make_library, make_llm, make_tokenized_clips, prediction

BEGAN = datetime(2026, 11, 20, tzinfo=UTC)


def night(session: Session, number: int, **changes: Any) -> UUID:
    """Record a completed night that began at this number and took a minute."""
    began = BEGAN + timedelta(days=number)
    values: dict[str, Any] = {
        "id": uuid4(),
        "kind": "nightly-labeling",
        "partition_key": "here",
        "code_version": "0.1.0",
        "parameters": {"prefix": "s3://calls/{day}", "library": "sounds"},
        "day": date(2026, 11, 10 + number),
        "counts": {"label.labeled": 3},
        "summary": {"labels": {"dog": number}},
        "status": "completed",
        "started_at": began,
        "finished_at": began + timedelta(minutes=1),
    }
    session.execute(insert(Run).values(values | changes))
    return UUID(str((values | changes)["id"]))


def before(session: Session, run_id: UUID) -> UUID | None:
    found = previous_run(session, run_id)
    return found.id if found else None


def test_the_night_before_is_that_of_the_last_earlier_day_whenever_it_ran(session: Session) -> None:
    second, third = night(session, 2), night(session, 3)
    first = night(session, 5, day=date(2026, 11, 11))  # made up for later
    again = night(session, 6, day=date(2026, 11, 12))
    assert before(session, third) == again
    assert before(session, second) == before(session, again) == first
    assert before(session, first) is None


def test_nights_without_a_day_follow_each_other_as_they_began(session: Session) -> None:
    first, second, third = (night(session, number, day=None) for number in (1, 2, 3))
    assert [before(session, one) for one in (first, second, third)] == [None, first, second]


def test_another_version_of_the_library_is_the_same_series(session: Session) -> None:
    first = night(session, 1)
    parameters = {"prefix": "s3://calls/{day}", "library": "sounds@7"}
    assert before(session, night(session, 2, parameters=parameters)) == first


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "label"},
        {"parameters": {"prefix": "s3://calls/{day}", "library": "soundscapes"}},
        {"parameters": {"prefix": "s3://others/{day}", "library": "sounds"}},
        {"parameters": {"library": "sounds"}},
        {"status": "failed"},
        {"summary": None},
    ],
)
def test_a_run_of_something_else_or_without_an_end_is_not_compared_with(
    session: Session, changes: dict[str, Any]
) -> None:
    night(session, 1, **changes)
    assert before(session, night(session, 2)) is None


def test_a_night_that_was_undone_is_passed_over_until_it_is_restored(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav")
    first, second, third = (night(session, number) for number in (1, 2, 3))
    answer = prediction("a.wav", make_library(session, codec_id), codec_id, None)
    save_predictions(session, second, [answer])
    undo = night(session, 9, kind="undo-run")
    retract_run(session, second, undo)
    assert before(session, third) == first
    restore_run(session, second)
    assert before(session, third) == second


def test_what_stood_at_the_end_and_the_seconds_are_read_back(session: Session) -> None:
    night(session, 1)
    found = previous_run(session, night(session, 2))
    assert found is not None
    assert (found.seconds, found.summary) == (60, {"labels": {"dog": 1}})
    assert (found.day, found.started_at) == (date(2026, 11, 11), BEGAN + timedelta(days=1))


def test_past_runs_are_those_that_asked_the_same_models_in_one_attempt(session: Session) -> None:
    codec_id, llm_id = make_tokenized_clips(session, "a.wav", "b.wav", "c.wav", "d.wav"), make_llm(session)
    other, library = make_codec(session, "other"), make_library(session, codec_id)
    runs = [night(session, number) for number in range(4)]
    taken_up = night(session, 8, attempts=2)
    answers = [(codec_id, llm_id), (codec_id, llm_id), (codec_id, None), (other, llm_id)]
    for run, name, (codec, llm) in zip(runs, ("a.wav", "b.wav", "c.wav", "d.wav"), answers, strict=True):
        save_predictions(session, run, [prediction(name, library, codec, llm)])
    save_predictions(session, taken_up, [prediction("shot", library, codec_id, llm_id)])

    def found(llm: str | None, limit: int = 10, codec: str = "c0dec") -> list[UUID]:
        return [run.id for run in past_runs(session, "nightly-labeling", codec, llm, limit)]

    assert found("11a3a") == [runs[1], runs[0]]
    assert found("11a3a", limit=1) == [runs[1]]
    assert found(None) == [runs[2]]
    assert found("11a3a", codec="other") == [runs[3]]
    assert found("elsewhere") == []


def test_the_unfinished_days_of_a_series_are_those_since_its_first_night_that_none_completed(
    session: Session,
) -> None:
    night(session, 1)
    night(session, 2, status="failed")
    night(session, 3, status="failed")
    night(session, 3)
    night(session, 5, status="running", finished_at=None)
    night(session, 6, parameters={"prefix": "s3://calls/{day}", "library": "sounds@3"})
    for other in ({"prefix": "s3://other/{day}"}, {"library": "others"}):
        night(session, 4, parameters={"prefix": "s3://calls/{day}", "library": "sounds", **other})
    night(session, 4, kind="label")

    def unfinished(number: int, most_days: int) -> list[int]:
        day = date(2026, 11, 10 + number)
        asked = ("nightly-labeling", "s3://calls/{day}", "sounds")
        return [found.day - 10 for found in unfinished_days(session, *asked, day, most_days)]

    assert unfinished(7, 7) == [2, 4, 5]
    assert unfinished(7, 3) == [4, 5]
    assert unfinished(3, 7) == [2]
    assert unfinished(1, 7) == []
    assert unfinished(7, 0) == []
