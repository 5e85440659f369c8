"""Current answers are kept as rows: whatever is written, they are as the definition says."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.orm import Session

from db.current_answers import count_differences
from db.engine import make_engine, session_scope
from db.labeler_choices import StoredChoice, add_choice
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.models import Clip, CurrentAnswer, PredictionRow, Promotion
from db.predictions import save_predictions, set_max_distance, set_min_margin
from db.promotions import ModelSet, promote
from db.retractions import restore_run, retract_run
from tests.db.rows import listed, make_library, make_llm, make_run, make_tokenized_clips, prediction, sha256
from tests.fixtures_postgres import Database

CLIPS = ("a.wav", "b.wav", "c.wav")
LISTED_AT = datetime(2026, 11, 22, tzinfo=UTC)
LABELERS = ("nearest", "class mean latents", "few-shot")


class World:
    """A codec, an LLM and two libraries of two versions each, in which anything may happen."""

    def __init__(self, session: Session, random: Random) -> None:
        self.session, self.random, self.written = session, random, 0
        self.codec_id, self.llm_id = make_tokenized_clips(session, *CLIPS), make_llm(session)
        self.libraries = [
            self._version(name, shot) for name in ("animals", "calls") for shot in ("one", "other")
        ]
        self.runs: list[UUID] = []

    def _version(self, name: str, shot: str) -> LibraryVersion:
        make_library(self.session, self.codec_id, "shots of " + name, f"{name} {shot}")
        row = LibraryDemonstration(sha256(f"{name} {shot}"), "dog", f"file:///{name}-{shot}")
        return import_library(self.session, name, "label", None, [row])

    def happen(self) -> None:
        """Write something at random."""
        events = (self._answer, self._answer, self._retract, self._restore, self._promote, self._choose)
        self.random.choice((*events, self._forget_promotions, self._move_bounds, self._delete))()

    def _models(self) -> ModelSet:
        llm_id = self.random.choice((None, self.llm_id))
        return ModelSet(self.random.choice(self.libraries).id, self.codec_id, llm_id)

    def _answer(self) -> None:
        run = make_run(self.session, attempt=len(self.runs))
        self.runs.append(run)
        self.written += 1
        library, labeler = self.random.choice(self.libraries), self.random.choice(LABELERS)
        llm_id = self.llm_id if labeler == "few-shot" else None
        given: dict[str, Any] = {
            "labeler": labeler,
            "margin": self.random.random(),
            "distance": self.random.random(),
        }
        answers = [
            prediction(
                name, library, self.codec_id, llm_id, work_key=sha256(f"{name} {self.written}"), **given
            )
            for name in CLIPS
            if self.random.random() < 0.7
        ]
        save_predictions(self.session, run, answers)

    def _retract(self) -> None:
        if self.runs:
            undo = make_run(self.session, "undo", attempt=self.random.random())
            retract_run(self.session, self.random.choice(self.runs), undo)

    def _restore(self) -> None:
        if self.runs:
            restore_run(self.session, self.random.choice(self.runs))

    def _promote(self) -> None:
        promote(self.session, "label", self._models())

    def _forget_promotions(self) -> None:
        self.session.execute(delete(Promotion))

    def _choose(self) -> None:
        add_choice(
            self.session,
            self._models(),
            StoredChoice(self.random.choice(LABELERS), None, "at random", None, "person"),
        )

    def _move_bounds(self) -> None:
        keys = self.session.scalars(select(PredictionRow.work_key)).all()
        set_min_margin(self.session, keys, self.random.random())
        set_max_distance(self.session, keys, self.random.random())

    def _delete(self) -> None:
        oldest = select(PredictionRow.id).order_by(PredictionRow.id).limit(1).scalar_subquery()
        self.session.execute(delete(PredictionRow).where(PredictionRow.id == oldest))


@pytest.mark.parametrize("seed", range(4))
def test_after_anything_the_kept_answers_are_those_of_the_definition(
    owner_session: Session, seed: int
) -> None:
    world = World(owner_session, Random(seed))
    for _ in range(40):
        world.happen()
        assert count_differences(owner_session) == 0
    assert world.written


def test_a_difference_is_counted(owner_session: Session) -> None:
    world = World(owner_session, Random(0))
    while not owner_session.scalars(select(CurrentAnswer)).all():
        world.happen()
    owner_session.execute(update(CurrentAnswer).values(label="bird"))
    assert count_differences(owner_session) > 0


def test_two_writers_a_promotion_a_choice_and_an_undo_at_once_end_as_the_definition_says(
    database: Database,
) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, *CLIPS)
        libraries = [make_library(session, codec_id, "animals", shot) for shot in ("one", "other")]
        runs = [make_run(session, attempt=number) for number in range(3)]
        save_predictions(session, runs[2], [prediction(name, libraries[0], codec_id, None) for name in CLIPS])

    def write(run: int) -> None:
        for number in range(12):
            name, library = CLIPS[number % 3], libraries[number % 2]
            key = sha256(f"{run} {number}")
            answer = prediction(name, library, codec_id, None, labeler=LABELERS[run], work_key=key)
            with session_scope(engine) as session:
                save_predictions(session, runs[run], [answer])

    def repeat(change: Callable[[Session, int], object]) -> None:
        for number in range(8):
            with session_scope(engine) as session:
                change(session, number)

    def promote_one(session: Session, number: int) -> None:
        promote(session, "label", ModelSet(libraries[number % 2].id, codec_id, None))

    def choose_one(session: Session, number: int) -> None:
        choice = StoredChoice(LABELERS[number % 2], None, "in turn", None, "person")
        add_choice(session, ModelSet(libraries[number % 2].id, codec_id, None), choice)

    def undo_and_redo(session: Session, number: int) -> None:
        if number % 2:
            restore_run(session, runs[2])
        else:
            retract_run(session, runs[2], runs[1])

    with ThreadPoolExecutor(5) as pool:
        ended = [pool.submit(write, 0), pool.submit(write, 1)]
        ended += [pool.submit(repeat, one) for one in (promote_one, choose_one, undo_and_redo)]
        for one in ended:
            one.result()
    with session_scope(engine) as session:
        assert count_differences(session) == 0
    engine.dispose()


# a table of fewer rows is read as a whole, which takes a millisecond
ANSWERS_ABOUT_OTHERS = text(
    """
    INSERT INTO current_answers
    SELECT sha256(number::text::bytea), 'label', 'animals', number, 'dog', 0.5, 'labeled', false, false,
      false, now(), now()
    FROM generate_series(1, 20000) AS number
    """
)
ROWS_READ = text(
    """
    SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_xact_user_tables WHERE relname = 'current_answers'
    """
)


def test_writing_an_answer_reads_no_answers_about_other_contents(owner_session: Session) -> None:
    session = owner_session
    names = [f"{number}.wav" for number in range(100)]
    codec_id = make_tokenized_clips(session, *names)
    library, run = make_library(session, codec_id), make_run(session)
    session.execute(ANSWERS_ABOUT_OTHERS)
    session.execute(text("ANALYZE current_answers"))
    read_before = session.scalars(ROWS_READ).one()
    save_predictions(session, run, [prediction(name, library, codec_id, None) for name in names])
    assert session.scalars(ROWS_READ).one() == read_before


def test_the_newest_version_of_each_uri_is_marked_whatever_comes_and_goes(owner_session: Session) -> None:
    random, session = Random(1), owner_session
    for number in range(60):
        uri = f"s3://calls/{random.randrange(3)}"
        _come_or_go(session, random, uri, number)
        newest = [clip.id for clip in session.scalars(select(Clip).where(Clip.is_newest).order_by(Clip.uri))]
        versions = session.scalars(select(Clip).execution_options(populate_existing=True)).all()
        expected = {}
        for clip in sorted(
            versions, key=lambda c: (c.missing_since is None, c.missing_since or c.first_seen, c.id)
        ):
            expected[clip.uri] = clip.id
        assert newest == [expected[uri] for uri in sorted(expected)]


def _come_or_go(session: Session, random: Random, uri: str, number: int) -> None:
    current = select(Clip).where(Clip.uri == uri, Clip.missing_since.is_(None))
    clip = session.scalars(current.execution_options(populate_existing=True)).one_or_none()
    if clip is None and random.random() < 0.7:
        one = listed("x", f"v{number}")
        session.add(Clip(uri=uri, version_token=one.version_token, size=1, last_modified=one.last_modified))
    elif clip is not None:
        session.execute(
            update(Clip).where(Clip.id == clip.id).values(missing_since=LISTED_AT + timedelta(days=number))
        )
    session.flush()
