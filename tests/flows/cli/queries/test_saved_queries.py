"""The saved queries answer what Python computes from what was written, without SQL."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import fmean
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.embedded.server import EmbeddedServer
from db.engine import make_engine, session_scope
from db.explorer.address import keep_address
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.models import Clip
from db.object_version import ObjectVersion
from db.predictions import NewPrediction, save_predictions
from db.quarantine import Rejection, quarantine_clips
from db.runs import RunClaim, finish_run, start_run
from db.tokens import save_tokens
from flows.cli.queries.query import answered
from flows.cli.queries.saved import read_saved
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.count_words import count_words
from flows.pipeline.runtime.resources import Runtime
from tests.db.rows import WORDS, make_codec, make_llm, make_run, prediction, sha256, tokenized
from tests.fixtures_postgres import Database, migrated_database

DAYS = [date(2026, 11, 20) + timedelta(days=number) for number in range(3)]
LABELS = ("cat", "dog", "rain")
PAGES = "https://listen.example"
CLIPS_A_DAY, PRICE, LEAST_MARGIN = 12, 3.0, 0.1
SHOWN = ("dog", "rain")
"""The words of the demonstration."""


@dataclass(frozen=True)
class TrueClip:
    """A clip as it was written, and its answer by the library sounds."""

    id: int
    uri: str
    day: date
    codes: tuple[int, ...]
    label: str
    margin: float
    run: UUID

    @property
    def link(self) -> str:
        return f"{PAGES}/clips/{self.id}"


@dataclass(frozen=True)
class Truth:
    """What was written to a database."""

    database: Database
    clips: list[TrueClip]

    def ask(self, name: str, **values: str) -> list[dict[str, Any]]:
        query = read_saved(name)
        with answered(self.database.url("analyst"), query.sql, query.with_values(values)) as answer:
            return [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]


@pytest.fixture(scope="module")
def truth(
    postgres: EmbeddedServer, migrated_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Truth]:
    with migrated_database(postgres, migrated_template) as database:
        engine = make_engine(database.url("writer"))
        with session_scope(engine) as session:
            clips = [clip for day in DAYS for clip in write_night(session, day)]
            keep_address(session, PAGES)
        engine.dispose()
        count(database, tmp_path_factory.mktemp("home"))
        yield Truth(database, clips)


def count(database: Database, home: Path) -> None:
    """Count words as the job does."""
    runtime = Runtime(Settings(home=home, database_url=database.url("writer")))
    try:
        count_words(runtime)
    finally:
        runtime.close()


def write_night(session: Session, day: date) -> Iterator[TrueClip]:
    """Write a night of labels, and one clip that is set aside."""
    drawn, place = random.Random(day.toordinal()), f"s3://calls/{day}"
    names = [f"{place}/{number:02}.wav" for number in range(CLIPS_A_DAY)]
    written = datetime(2026, 12, 1, tzinfo=UTC)  # the folder's name counts
    objects = [ObjectVersion(uri, "v1", 1000, written) for uri in [*names, f"{place}/cut.wav"]]
    add_clips(session, objects, place)
    ids = dict(session.execute(select(Clip.uri, Clip.id)).tuples().all())
    library = _library(session)
    night = _start(session, place, day)
    codec_id, llm_id = make_codec(session), make_llm(session)
    answers: list[NewPrediction] = []
    for uri in names:
        codes = tuple(drawn.choices(range(4), k=4))
        content = replace(tokenized(ids[uri], uri, blocks=2), codes=(list(codes), [1] * 8, [7] * 16))
        save_tokens(session, codec_id, night.id, [content])
        label, margin = drawn.choice(LABELS), round(drawn.random(), 6)
        others = {name: 0.1 for name in LABELS if name != label}
        answers.append(
            prediction(
                uri, library, codec_id, llm_id, label, margin=margin, probabilities={label: 0.8, **others}
            )
        )
        yield TrueClip(ids[uri], uri, day, codes, label, margin, night.id)
    save_predictions(session, night.id, answers)
    quarantine_clips(
        session, "tokenize", night.id, [Rejection(ids[f"{place}/cut.wav"], "truncated", "short")]
    )
    _finish(session, night, day)


def _library(session: Session) -> LibraryVersion:
    codec_id = make_codec(session)
    save_tokens(session, codec_id, make_run(session, "library"), [tokenized(None, "shown")])
    rows = [LibraryDemonstration(sha256("shown"), "cat", "file:///shown.wav")]
    return import_library(session, "sounds", "label", None, rows)


def _start(session: Session, place: str, day: date) -> RunClaim:
    run = start_run(
        session,
        "nightly-labeling",
        f"nightly-labeling {place}",
        parameters={"prefix": "s3://calls/{day}", "library": "sounds@1", "canary_library": "known@1"},
        day=day,
        flow_run_id=f"flow run of {day}",
        code_version="0.2.0",
        asked_by="schedule",
        price_per_hour=PRICE,
    )
    return RunClaim(run.id, run.attempts)


def _finish(session: Session, night: RunClaim, day: date) -> None:
    counts = {"canaries.asked": 20, "canaries.right": day.day - 4}
    summary = {"labels": {"cat": 1}, "agreement": {"nearest": day.day / 100}, "quarantined": {}}
    figures = {"audio_seconds/tokenize/": 10.0 * day.day, "seconds/label/label": 36.0 * day.day}
    finish_run(session, night, counts, "completed", summary, figures)


def test_labels_and_their_mean_margins(truth: Truth) -> None:
    margins = {label: [clip.margin for clip in truth.clips if clip.label == label] for label in LABELS}
    wanted = [
        {"label": label, "clips": len(margins[label]), "mean_margin": pytest.approx(fmean(margins[label]))}
        for label in sorted(LABELS, key=lambda label: (-len(margins[label]), label))
    ]
    assert truth.ask("labels") == wanted
    assert truth.ask("labels", library="others") == []


def test_labels_a_day(truth: Truth) -> None:
    counts = Counter((clip.day, clip.label) for clip in truth.clips)
    found = truth.ask("labels-a-day")
    assert {(row["day"], row["label"]): row["clips"] for row in found} == counts
    assert [row["day"] for row in found] == sorted((day for day, _ in counts), reverse=True)


def test_the_most_doubtful_clips_with_the_pages_to_hear_them(truth: Truth) -> None:
    doubtful = sorted(truth.clips, key=lambda clip: clip.margin)[:20]
    assert truth.ask("least-sure") == [
        {"uri": clip.uri, "label": clip.label, "margin": clip.margin, "link": clip.link} for clip in doubtful
    ]


def test_common_words_and_those_typical_of_a_label(truth: Truth) -> None:
    words = {code: WORDS[0][code] for code in range(4)}
    times = Counter(words[code] for clip in truth.clips for code in clip.codes) + Counter(SHOWN)
    contents = Counter(words[code] for clip in truth.clips for code in set(clip.codes)) + Counter(SHOWN)
    assert truth.ask("common-words") == [
        {"word": word, "contents": contents[word], "occurrences": times[word]}
        for word in sorted(times, key=lambda word: (-times[word], word))
    ]
    sure = [clip for clip in truth.clips if clip.margin >= LEAST_MARGIN]
    dogs, others = ([clip for clip in sure if (clip.label == "dog") is wanted] for wanted in (True, False))

    def having(clips: list[TrueClip]) -> Counter[str]:
        return Counter(words[code] for clip in clips for code in set(clip.codes))

    here, there = having(dogs), having(others)
    order = sorted(here, key=lambda word: (there[word] / len(others) - here[word] / len(dogs), word))
    assert truth.ask("typical-words", label="dog") == [
        {
            "word": word,
            "contents": here[word],
            "of_contents": len(dogs),
            "elsewhere": there[word],
            "of_elsewhere": len(others),
        }
        for word in order
    ]


def test_what_was_set_aside(truth: Truth) -> None:
    [row] = truth.ask("quarantine")
    assert (row["reason"], row["clips"]) == ("truncated", len(DAYS))


def test_agreement_and_accuracy_night_by_night(truth: Truth) -> None:
    found = truth.ask("night-quality")
    assert [
        (row["day"], row["place"], row["library"], row["agreement"], row["accuracy"]) for row in found
    ] == [(day, f"s3://calls/{day}", "sounds", day.day / 100, (day.day - 4) / 20) for day in reversed(DAYS)]
    assert all(row["accuracy_low"] < row["accuracy"] < row["accuracy_high"] for row in found)


def test_audio_and_cost_night_by_night(truth: Truth) -> None:
    assert truth.ask("night-cost") == [
        {
            "day": day,
            "place": f"s3://calls/{day}",
            "runs": 1,
            "audio_seconds": 10.0 * day.day,
            "compute_seconds": 36.0 * day.day,
            "cost": pytest.approx(36.0 * day.day / 3600 * PRICE),
        }
        for day in reversed(DAYS)
    ]


def test_who_asked_for_an_answer_and_what_made_it(truth: Truth) -> None:
    clip = truth.clips[CLIPS_A_DAY + 3]
    [row] = truth.ask("made-by", uri=clip.uri)
    assert row.pop("parameters")["prefix"] == "s3://calls/{day}"
    assert row == {
        "label": clip.label,
        "library": "sounds",
        "version": 1,
        "prompt_hash": "ab",
        "labeler": "few-shot",
        "llm": "tiny-llama",
        "run": clip.run,
        "flow_run": f"flow run of {clip.day}",
        "asked_by": "schedule",
        "code_version": "0.2.0",
    }


def test_the_last_runs_come_first(truth: Truth) -> None:
    nights = [row for row in truth.ask("runs") if row["kind"] == "nightly-labeling"]
    assert {row["place"] for row in nights} == {f"s3://calls/{day}" for day in DAYS}
    assert {(row["status"], row["asked_by"]) for row in nights} == {("completed", "schedule")}
