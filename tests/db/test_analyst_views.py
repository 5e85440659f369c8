"""Days, links, costs, libraries and accuracy as analysts read them."""

from datetime import UTC, date, datetime
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.engine import session_scope
from db.explorer.address import keep_address
from db.libraries import LibraryDemonstration, import_library, use_library
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.runs import RunClaim, finish_run, start_run
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_library,
    make_run,
    make_tokenized_clips,
    prediction,
    sha256,
)

WRITTEN = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
NIGHT, SHARD = "nightly-labeling", "label-shard"


def _rows(analyst: Connection, question: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in analyst.execute(text(question))]


def _day(session: Session, uri: str) -> date | None:
    day: date | None = session.scalar(
        text("SELECT day_of_clip(:uri, :written)"), {"uri": uri, "written": WRITTEN}
    )
    return day


@pytest.mark.parametrize(
    ("uri", "day"),
    [
        ("s3://calls/2026-11-22/a.wav", date(2026, 11, 22)),
        ("s3://calls/day=2026-11-22/2026-11-23/a.wav", date(2026, 11, 22)),
        ("file:///calls/day%3D2026-11-22/a.wav", date(2026, 11, 22)),
        ("s3://calls/a-2026-11-22.wav", date(2026, 11, 30)),
        ("s3://calls/12026-11-22/a.wav", date(2026, 11, 30)),
        ("s3://calls/a.wav", date(2026, 11, 30)),
    ],
)
def test_the_day_of_a_clip_is_its_first_folder_that_is_a_date_else_when_it_was_written(
    session: Session, uri: str, day: date
) -> None:
    assert _day(session, uri) == day


def test_a_folder_is_a_day_where_the_calendar_has_it(session: Session) -> None:
    @given(st.integers(1900, 2100), st.integers(0, 13), st.integers(0, 32))
    def check(year: int, month: int, day: int) -> None:
        try:
            wanted = date(year, month, day)
        except ValueError:
            wanted = WRITTEN.date()
        assert _day(session, f"s3://calls/{year}-{month:02}-{day:02}/a.wav") == wanted

    check()


def test_a_clip_has_its_day_its_folder_its_bucket_and_its_page(engine: Engine, analyst: Connection) -> None:
    question = "SELECT day, prefix, bucket, link FROM clips"
    with session_scope(engine) as session:
        add_clips(session, [listed("a.wav")], FOLDER)
        clip = clip_id(session, "a.wav")
    assert _rows(analyst, question) == [(date(2026, 11, 22), FOLDER, "bucket", None)]
    with session_scope(engine) as session:
        for url in (None, "http://127.0.0.1:4201", "https://listen.example", None):
            keep_address(session, url)
    [row] = _rows(analyst, question)
    assert row[-1] == f"https://listen.example/clips/{clip}"


def test_a_label_names_its_prompt_its_day_and_the_page_of_its_clip(
    engine: Engine, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library = make_library(session, codec_id)
        save_predictions(session, make_run(session), [prediction("a.wav", library, codec_id, None)])
        keep_address(session, "https://listen.example")
    linked = "link = (SELECT link FROM clips)"
    assert _rows(analyst, f"SELECT day, prompt_hash, {linked} FROM labels") == [
        (date(2026, 11, 22), "ab", True)
    ]
    assert _rows(analyst, f"SELECT day, {linked} FROM least_sure") == [(date(2026, 11, 22), True)]
    assert _rows(analyst, "SELECT count(*) FROM labels JOIN history USING (answer)") == [(1,)]


def _run(session: Session, kind: str, name: str, price: float | None, **parameters: str) -> RunClaim:
    run = start_run(
        session,
        kind,
        f"{kind} {name}",
        parameters={"prefix": FOLDER, "library": "sounds@1", **parameters},
        day=date(2026, 11, 22),
        flow_run_id=None,
        code_version="0.1.0",
        asked_by="schedule",
        price_per_hour=price,
    )
    return RunClaim(run.id, run.attempts)


def _figures(audio: float, encode: float, label: float) -> dict[str, float]:
    return {
        "audio_seconds/tokenize/": audio,
        "seconds/tokenize/encode": encode,
        "seconds/tokenize/get": 1000.0,
        "seconds/label/label": label,
        "seconds/label/write": 1000.0,
    }


def _night_with_a_shard(session: Session, prices: tuple[float | None, float | None]) -> UUID:
    night = _run(session, NIGHT, FOLDER, prices[0])
    shard = _run(session, SHARD, "shard 1", prices[1], night=str(night.id))
    counts = {"tokenize.tokenized": 3, "tokenize.quarantined": 1, "label.labeled": 3}
    finish_run(session, shard, {}, "completed", figures=_figures(30.0, 3600.0, 1800.0))
    finish_run(session, night, counts, "completed", figures=_figures(10.0, 0.0, 900.0))
    return night.id


def test_a_run_tells_its_audio_and_its_time_in_the_models_by_stage_and_its_cost(
    engine: Engine, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        night = _night_with_a_shard(session, (None, 2.0))
    question = """
        SELECT kind, asked_by, night, audio_seconds, compute_seconds, audio_by_stage, compute_by_stage,
          price_per_hour, cost FROM runs ORDER BY kind
    """
    night_stages = {"tokenize": 0.0, "label": 900.0}
    shard_stages = {"tokenize": 3600.0, "label": 1800.0}
    assert _rows(analyst, question) == [
        (SHARD, "schedule", night, 30.0, 5400.0, {"tokenize": 30.0}, shard_stages, 2.0, 3.0),
        (NIGHT, "schedule", None, 10.0, 900.0, {"tokenize": 10.0}, night_stages, None, None),
    ]


def test_a_night_adds_its_shards_up_each_at_its_own_price(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        _night_with_a_shard(session, (4.0, 2.0))
        session.execute(text("UPDATE runs SET started_at = finished_at - interval '2 s'"))
    question = """
        SELECT clips_worked, audio_seconds, compute_seconds, cost, asked_by, clips_per_second FROM nights
    """
    assert _rows(analyst, question) == [(4, 40.0, 6300.0, 4.0, "schedule", 2.0)]


def test_a_run_without_figures_costs_nothing(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        _run(session, NIGHT, FOLDER, 5.0)
    assert _rows(analyst, "SELECT audio_seconds, audio_by_stage, cost, status FROM runs") == [
        (0.0, {}, 0.0, "running")
    ]
    assert _rows(analyst, "SELECT clips_worked, clips_per_second FROM nights") == [(0, None)]


def test_the_version_in_use_and_the_promoted_one_are_told_apart(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav", "b.wav")
        first = make_library(session, codec_id)
        both = [
            LibraryDemonstration(sha256(name), label, name)
            for name, label in (("a.wav", "x"), ("b.wav", "y"))
        ]
        second = import_library(session, "animals", "label", "Say it.", both)
        use_library(session, "animals", second.version)
        promote(session, "label", ModelSet(first.id, codec_id, None))
    question = """
        SELECT version, task, instruction, demonstrations, labels, is_in_use, is_promoted FROM libraries
        ORDER BY version
    """
    assert _rows(analyst, question) == [
        (1, "label", None, 1, 1, False, True),
        (2, "label", "Say it.", 2, 2, True, False),
    ]


def test_the_accuracy_of_a_night_is_that_of_its_canaries_with_its_interval(
    engine: Engine, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        night = _run(session, NIGHT, FOLDER, None, canary_library="known@2")
        finish_run(session, night, {"canaries.asked": 10, "canaries.right": 8}, "completed")
        finish_run(session, _run(session, NIGHT, "elsewhere", None), {}, "completed")
    question = """
        SELECT run, day, place, library, library_version, source, truth, answers, correct, accuracy,
          accuracy_low, accuracy_high
        FROM accuracy
    """
    [row] = _rows(analyst, question)
    night_of = (night.id, date(2026, 11, 22), FOLDER, "sounds", "sounds@1")
    assert row[:-2] == (*night_of, "canaries", "known@2", 10.0, 8.0, 0.8)
    assert row[-2:] == (pytest.approx(0.490, abs=1e-3), pytest.approx(0.943, abs=1e-3))
