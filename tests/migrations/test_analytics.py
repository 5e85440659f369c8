"""What analysts read: small data, asked through the analyst's own connection."""

from datetime import date
from uuid import UUID

import pytest
from sqlalchemy import Connection, Engine, text
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.engine import session_scope
from db.generated import save_audio
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.quarantine import Rejection, quarantine_clips, resolve
from db.retractions import retract_run
from db.runs import RunClaim, finish_run, start_run
from tests.db.rows import (
    FOLDER,
    audio,
    clip_id,
    listed,
    make_codec,
    make_library,
    make_llm,
    make_run,
    make_tokenized_clips,
    prediction,
    sha256,
)


def _rows(analyst: Connection, question: str) -> list[tuple[object, ...]]:
    return [tuple(row) for row in analyst.execute(text(question))]


def _labels(analyst: Connection) -> list[tuple[object, ...]]:
    return _rows(analyst, "SELECT uri, label, labeler FROM labels ORDER BY uri")


def _answer(
    session: Session,
    library: LibraryVersion,
    codec_id: int,
    llm_id: int | None,
    label: str,
    **changes: object,
) -> UUID:
    """A run with one answer about a.wav."""
    run_id = make_run(session, library=library.id, llm=llm_id, label=label)
    save_predictions(session, run_id, [prediction("a.wav", library, codec_id, llm_id, label, **changes)])
    return run_id


def test_a_label_tells_how_sure_it_is_and_where_it_comes_from(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library, llm_id = make_library(session, codec_id), make_llm(session)
        run_id = _answer(session, library, codec_id, llm_id, "cat", margin=0.05, is_demonstration=True)
    question = """
        SELECT uri, task, label, probability, margin, status, chance, majority_label, nearest_label,
          nearest_latent_label, library, version, labeler, llm, codec, run, is_demonstration, is_promoted,
          missing_since
        FROM labels
    """
    first = (f"{FOLDER}/a.wav", "label", "cat", 0.75, 0.05, "uncertain", 0.5, "cat", "dog", "rain")
    second = ("animals", 1, "few-shot", "tiny-llama", "tiny", run_id, True, False, None)
    assert _rows(analyst, question) == [first + second]


def test_the_latest_standing_answer_is_the_current_one(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library = make_library(session, codec_id)
        _answer(session, library, codec_id, None, "cat")
    with session_scope(engine) as session:
        latest = _answer(session, library, codec_id, make_llm(session), "dog")
    assert _labels(analyst) == [(f"{FOLDER}/a.wav", "dog", "few-shot")]
    with session_scope(engine) as session:
        retract_run(session, latest, make_run(session, "undo"))
    assert _labels(analyst) == [(f"{FOLDER}/a.wav", "cat", "nearest")]


def test_libraries_of_one_task_do_not_hide_each_other(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        _answer(session, make_library(session, codec_id), codec_id, None, "cat")
    with session_scope(engine) as session:
        other = import_library(
            session, "pets", "label", None, [LibraryDemonstration(sha256("a.wav"), "dog", "a")]
        )
        _answer(session, other, codec_id, None, "dog", task="label")
    question = "SELECT library, label FROM labels ORDER BY library"
    assert _rows(analyst, question) == [("animals", "cat"), ("pets", "dog")]


def test_a_promoted_answer_stays_current_whatever_comes_later(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library, later = make_library(session, codec_id), make_library(session, codec_id, shot="another")
        promote(session, "label", ModelSet(library.id, codec_id, None))
        _answer(session, library, codec_id, None, "cat")
    with session_scope(engine) as session:
        _answer(session, later, codec_id, None, "dog")
    assert _labels(analyst) == [(f"{FOLDER}/a.wav", "cat", "nearest")]
    with session_scope(engine) as session:
        promote(session, "label", ModelSet(later.id, codec_id, None))
    assert _labels(analyst) == [(f"{FOLDER}/a.wav", "dog", "nearest")]


def test_each_task_has_its_own_current_answer(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library = make_library(session, codec_id)
        _answer(session, library, codec_id, None, "cat")
        _answer(session, library, codec_id, make_llm(session), "dog", task="mood")
    assert _rows(analyst, "SELECT task, label FROM labels ORDER BY task") == [
        ("label", "cat"),
        ("mood", "dog"),
    ]


def test_a_replaced_clip_loses_its_label_and_a_missing_one_keeps_it(
    engine: Engine, analyst: Connection
) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        _answer(session, make_library(session, codec_id), codec_id, None, "cat")
        add_clips(session, [], FOLDER)
    assert _rows(analyst, "SELECT label, missing_since IS NULL FROM labels") == [("cat", False)]
    with session_scope(engine) as session:
        add_clips(session, [listed("a.wav", "v2")], FOLDER)
    assert _labels(analyst) == []


def test_the_words_of_a_clip_are_spelled_and_placed_in_time(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        make_tokenized_clips(session, "a.wav")
    semantic = _rows(
        analyst, "SELECT position, code, word, start_s FROM words WHERE layer = 0 ORDER BY position"
    )
    assert semantic == [(0, 0, "dog", 0.0), (1, 2, "rain", 0.12)]
    counts = _rows(analyst, "SELECT layer, count(*), max(start_s) FROM words GROUP BY layer ORDER BY layer")
    assert counts == [(0, 2, 0.12), (1, 4, 0.18), (2, 8, pytest.approx(0.21))]


def test_tokens_come_as_arrays_with_their_duration(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        make_tokenized_clips(session, "a.wav")
        add_clips(session, [listed("a.wav"), listed("untokenized.wav")], FOLDER)
    assert _rows(analyst, "SELECT uri, codec, duration, semantic, levels FROM tokens") == [
        (f"{FOLDER}/a.wav", "tiny", 0.24, [0, 2], [-200, -123])
    ]
    assert _rows(analyst, "SELECT count(*), count(duration) FROM clips") == [(2, 1)]


def test_the_quarantine_shows_what_is_open(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        make_codec(session)
        add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER)
        clips = [clip_id(session, name) for name in ("a.wav", "b.wav")]
        for attempt in range(2):
            rejected = [Rejection(clip, "silent", "peak -90 dBFS") for clip in clips]
            quarantine_clips(session, "tokenize", make_run(session, attempt=attempt), rejected)
        resolve(session, "tokenize", clips[1:])
    assert _rows(analyst, "SELECT uri, stage, reason, message, attempts FROM quarantine") == [
        (f"{FOLDER}/a.wav", "tokenize", "silent", "peak -90 dBFS", 2)
    ]


def test_generated_audio_says_what_was_asked_and_where_it_lies(engine: Engine, analyst: Connection) -> None:
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library, llm_id, run_id = make_library(session, codec_id), make_llm(session), make_run(session)
        noisy = {"text": None, "content_sha256": sha256("a.wav"), "task": "denoise", "uri": "s3://results/a"}
        asked = [audio("one", library, codec_id, llm_id), audio("a", library, codec_id, llm_id, **noisy)]
        save_audio(session, run_id, asked)
    question = """
        SELECT uri, task, text, asked_uri, duration, semantic, metrics, library, version, llm, codec, run
        FROM generated ORDER BY task
    """
    made_by = ("animals", 1, "tiny-llama", "tiny", run_id)
    assert _rows(analyst, question) == [
        ("s3://results/a", "denoise", None, f"{FOLDER}/a.wav", 0.24, [0, 2], {"peak": 0.5}, *made_by),
        (asked[0].uri, "speech", "one", None, 0.24, [0, 2], {"peak": 0.5}, *made_by),
    ]
    with session_scope(engine) as session:
        retract_run(session, run_id, make_run(session, "undo"))
    assert _rows(analyst, "SELECT * FROM generated") == []


def test_a_run_is_shown_under_its_own_id_and_under_those_of_its_flow_runs(
    engine: Engine, analyst: Connection
) -> None:
    kind = "nightly-labeling"
    asked = {"parameters": {"library": "sounds@1"}, "day": date(2026, 11, 22), "code_version": "0.1.0"}
    with session_scope(engine) as session:
        for flow_run in ("killed", "next"):
            run = start_run(session, kind, f"{kind} {FOLDER}", flow_run_id=flow_run, **asked)  # type: ignore[arg-type]
        finish_run(session, RunClaim(run.id, 2), {"label.labeled": 3}, "completed")
    question = """
        SELECT run, flow_run, earlier_flow_runs, kind, place, day, library, status, counts, attempts,
          seconds >= 0 AND finished_at >= started_at, code_version
        FROM runs
    """
    [row] = _rows(analyst, question)
    assert row == (
        run.id, "next", ["killed"], "nightly-labeling", FOLDER, date(2026, 11, 22), "sounds@1", "completed",
        {"label.labeled": 3}, 2, True, "0.1.0",
    )  # fmt: skip
