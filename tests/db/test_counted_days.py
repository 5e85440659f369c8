"""Counts of each day are exact at any time, whoever writes and whether or not the day is counted."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.counted_days import count_agreement_differences, count_day_differences, count_marked_days
from db.engine import make_engine, session_scope
from db.model_registry import ensure_codec
from db.models import Clip, Content, LabelCountRow, PredictionRow
from db.object_version import ObjectVersion
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.retractions import restore_run, retract_run
from db.tokens import save_tokens
from tests.db.rows import (
    CONFIG,
    FOLDER,
    WORDS,
    clip_id,
    make_codec,
    make_library,
    make_llm,
    make_run,
    prediction,
    sha256,
    tokenized,
)
from tests.fixtures_postgres import Database

FIRST_DAY = datetime(2026, 11, 20, tzinfo=UTC)
NAMES = ("a.wav", "b.wav", "c.wav", "d.wav")
LABELS = ("dog", "cat")

COUNTED = text("SELECT day, library, label, status, clips, margins FROM analytics.label_counts")
TRUTH = text("SELECT day, library, label, status, margin FROM analytics.labels WHERE missing_since IS NULL")
TAKE, COUNT = text("SELECT take_marked_day()"), text("SELECT count_taken_day(:day)")
AGREEMENT = text(
    """
    SELECT label, other_label, sum(clips) FROM analytics.agreement
    WHERE codec_fingerprint <> other_codec_fingerprint GROUP BY 1, 2
    """
)
ANSWERS_AGAINST_ANSWERS = text(
    """
    SELECT one.label, other.label, count(*)
    FROM analytics.answers AS one JOIN analytics.answers AS other USING (uri, library)
    WHERE one.codec_fingerprint < other.codec_fingerprint
      AND one.missing_since IS NULL AND other.missing_since IS NULL GROUP BY 1, 2
    """
)


@pytest.fixture
def owner_session(database: Database) -> Iterator[Session]:
    engine = make_engine(database.url("owner"))
    with Session(engine, expire_on_commit=False) as session:
        yield session
    engine.dispose()


class World:
    """Clips of three days that come, change and go, answered by two codecs and two library versions."""

    def __init__(self, session: Session, seed: int) -> None:
        self.session, self.random, self.step = session, Random(seed), 0
        self.codecs = [make_codec(session), ensure_codec(session, "other", "other", CONFIG, WORDS)]
        self.llm = make_llm(session)
        self.versions = [make_library(session, self.codecs[0], "animals", shot) for shot in ("one", "two")]
        self.runs = [make_run(session)]
        self._list()

    def happen(self) -> None:
        """Write something at random."""
        self.step += 1
        often = (self._tokenize, self._tokenize, self._answer, self._answer, self._count)
        seldom = (self._list, self._retract, self._restore, self._promote, self._delete, self._move)
        self.random.choice((*often, *seldom))()

    def _list(self) -> None:
        versions = [
            ObjectVersion(
                f"{FOLDER}/{name}",
                f"v{self.random.random() < 0.1}",
                1,
                FIRST_DAY + timedelta(days=place % 3),
            )
            for place, name in enumerate(NAMES)
            if self.random.random() < 0.9
        ]
        add_clips(self.session, versions, FOLDER, allow_loss=True)

    def _tokenize(self) -> None:
        clips = self.session.scalars(text("SELECT id FROM clips WHERE missing_since IS NULL")).all()
        if clips:
            one = tokenized(self.random.choice(clips), self.random.choice(NAMES))
            save_tokens(self.session, self.codecs[0], make_run(self.session, "tokenize"), [one])

    def _answer(self) -> None:
        self.runs.append(make_run(self.session, attempt=self.step))
        known = set(self.session.scalars(select(Content.sha256)))
        answers = [
            prediction(
                name,
                self.random.choice(self.versions),
                self.random.choice(self.codecs),
                self.random.choice((None, self.llm)),
                label=self.random.choice(LABELS),
                margin=self.random.randrange(8) / 8,
                work_key=sha256(f"{name} {self.step}"),
            )
            for name in NAMES
            if sha256(name) in known
        ]
        save_predictions(self.session, self.runs[-1], answers)

    def _retract(self) -> None:
        retract_run(self.session, self.random.choice(self.runs), self.runs[0])

    def _restore(self) -> None:
        restore_run(self.session, self.random.choice(self.runs))

    def _promote(self) -> None:
        models = ModelSet(self.random.choice(self.versions).id, self.random.choice(self.codecs), None)
        promote(self.session, "label", models)

    def _delete(self) -> None:
        self.session.execute(delete(PredictionRow).where(PredictionRow.id % 5 == self.step % 5))

    def _move(self) -> None:
        later = Clip.last_modified + timedelta(days=1)
        self.session.execute(update(Clip).where(Clip.id % 3 == self.step % 3).values(last_modified=later))

    def _count(self) -> None:
        if day := self.session.scalars(TAKE).one():
            self.session.execute(COUNT, {"day": day})


@pytest.mark.parametrize("seed", range(3))
def test_after_anything_labels_and_agreement_are_counted_as_they_are(
    owner_session: Session, seed: int
) -> None:
    world, different = World(owner_session, seed), []
    for _ in range(40):
        world.happen()
        counted = _counted(owner_session)
        assert counted == _truth(owner_session)
        different += [counted] * (counted not in different)
        assert count_day_differences(owner_session) == 0
        assert count_agreement_differences(owner_session) == 0
        agreement = sorted(map(tuple, owner_session.execute(AGREEMENT)))
        assert agreement == sorted(map(tuple, owner_session.execute(ANSWERS_AGAINST_ANSWERS)))
    assert len(different) > 5


def _counted(session: Session) -> dict[tuple[object, ...], tuple[int, float]]:
    return {tuple(row[:4]): (row.clips, row.margins) for row in session.execute(COUNTED)}


def _truth(session: Session) -> dict[tuple[object, ...], tuple[int, float]]:
    rows = [tuple(row) for row in session.execute(TRUTH)]
    clips, margins = Counter(row[:4] for row in rows), Counter[tuple[object, ...]]()
    for row in rows:
        margins[row[:4]] += row[4]
    return {key: (clips[key], margins[key]) for key in clips}


def test_counted_days_are_read_and_only_marked_ones_are_counted_when_asked(
    database: Database, owner_session: Session
) -> None:
    world = World(owner_session, 0)
    one = tokenized(clip_id(owner_session, _first_name(owner_session)), "a.wav")
    save_tokens(owner_session, world.codecs[0], world.runs[0], [one])
    world._answer()
    counted = _counted(owner_session)
    assert counted
    owner_session.commit()
    engine = make_engine(database.url("writer"))
    assert count_marked_days(engine) > 0
    engine.dispose()
    assert _counted(owner_session) == counted
    owner_session.execute(update(LabelCountRow).values(clips=LabelCountRow.clips + 1))
    assert _counted(owner_session) != counted
    assert count_day_differences(owner_session) > 0


def _first_name(session: Session) -> str:
    uri: str = session.scalars(text("SELECT min(uri) FROM clips WHERE missing_since IS NULL")).one()
    return uri.rpartition("/")[2]


def test_a_clip_and_its_answer_that_are_written_at_once_are_counted_though_neither_sees_the_other(
    database: Database,
) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_codec(session)
        library, run = make_library(session, codec_id), make_run(session)
        listed = [ObjectVersion(f"{FOLDER}/a.wav", "v1", 1, FIRST_DAY)]
        add_clips(session, listed, FOLDER)
        save_tokens(session, codec_id, run, [tokenized(None, "a.wav")])
        clip = clip_id(session, "a.wav")
    with Session(engine) as answering, Session(engine) as linking:
        save_predictions(answering, run, [prediction("a.wav", library, codec_id, None)])
        save_tokens(linking, codec_id, run, [tokenized(clip, "a.wav")])
        linking.commit()
        assert count_marked_days(engine) == 0  # someone is at work
        answering.commit()
    with session_scope(engine) as session:
        assert sum(clips for clips, _ in _counted(session).values()) == 1
    assert count_marked_days(engine) == 1
    with session_scope(engine) as session:
        assert sum(clips for clips, _ in _counted(session).values()) == 1
        assert count_day_differences(session) == 0
    engine.dispose()


def test_what_is_written_while_a_day_is_counted_is_counted_again(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_codec(session)
        library, run = make_library(session, codec_id), make_run(session)
        add_clips(session, [ObjectVersion(f"{FOLDER}/a.wav", "v1", 1, FIRST_DAY)], FOLDER)
        save_tokens(session, codec_id, run, [tokenized(clip_id(session, "a.wav"), "a.wav")])
    with session_scope(engine) as session:
        day = session.scalars(TAKE).one()
    with Session(engine) as counting:
        counting.execute(COUNT, {"day": day})
        with session_scope(engine) as session:
            save_predictions(session, run, [prediction("a.wav", library, codec_id, None)])
        counting.commit()
    with session_scope(engine) as session:
        assert sum(clips for clips, _ in _counted(session).values()) == 1
    assert count_marked_days(engine) == 1
    with session_scope(engine) as session:
        assert sum(clips for clips, _ in _counted(session).values()) == 1
        assert count_day_differences(session) == 0
    engine.dispose()


def test_writers_and_counting_at_once_end_with_exact_counts(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_codec(session)
        library, runs = make_library(session, codec_id), [make_run(session, attempt=n) for n in range(3)]
        names = [f"{number}.wav" for number in range(24)]
        add_clips(session, [ObjectVersion(f"{FOLDER}/{name}", "v1", 1, FIRST_DAY) for name in names], FOLDER)
        save_tokens(session, codec_id, runs[0], [tokenized(None, name) for name in names])

    def answer(part: int) -> None:
        for name in names[part::2]:
            with session_scope(engine) as session:
                given = prediction(name, library, codec_id, None, work_key=sha256(f"{name} {part}"))
                save_predictions(session, runs[part], [given])

    def link() -> None:
        for name in names:
            with session_scope(engine) as session:
                save_tokens(session, codec_id, runs[2], [tokenized(clip_id(session, name), name)])

    def count() -> None:
        for _ in range(60):
            count_marked_days(engine)

    with ThreadPoolExecutor(4) as pool:
        ended = [pool.submit(answer, 0), pool.submit(answer, 1), pool.submit(link), pool.submit(count)]
        for one in ended:
            one.result()
    with session_scope(engine) as session:
        assert sum(clips for clips, _ in _counted(session).values()) == len(names)
        assert count_day_differences(session) == 0
    engine.dispose()
