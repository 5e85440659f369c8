"""Each change of a label is a row with its reason."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, NullPool, create_engine, text
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.engine import make_engine, session_scope
from db.libraries import LibraryVersion
from db.predictions import save_predictions
from db.promotions import ModelSet, promote
from db.retractions import restore_run, retract_run
from db.tokens import save_tokens
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_library,
    make_llm,
    make_run,
    make_tokenized_clips,
    prediction,
    sha256,
    tokenized,
)
from tests.db.test_counted_days import World
from tests.fixtures_postgres import Database

Row = tuple[str | None, str | None, str]
NEW_BYTES = text(
    "SELECT uri, task, library, label_before, label, changed_at, answer_before, answer "
    "FROM analytics.changes WHERE reason = 'new bytes'"
)
SPANS = text("SELECT * FROM analytics.label_spans ORDER BY since")
VERSIONS = text("SELECT uri, clip_id, is_newest FROM analytics.versions")


class Scene:
    """A database in which each step is a transaction of its own, as nights are."""

    def __init__(self, engine: Engine, analyst: Connection) -> None:
        self.engine, self.analyst = engine, analyst
        self.codec_id = self.do(lambda session: make_tokenized_clips(session, "a.wav", "b.wav"))
        self.library = self.do(lambda session: make_library(session, self.codec_id))

    def do(self, step: Callable[[Session], Any]) -> Any:
        with session_scope(self.engine) as session:
            return step(session)

    def answer(
        self, label: str, library: LibraryVersion | None = None, llm: int | None = None, **more: Any
    ) -> Any:
        """An answer about a.wav by a run of its own; the run."""

        def write(session: Session) -> Any:
            run = make_run(session, label=label, number=str(more))
            about = more.pop("about", "a.wav")
            answers = [prediction(about, library or self.library, self.codec_id, llm, label, **more)]
            save_predictions(session, run, answers)
            return run

        return self.do(write)

    def undo(self, run: Any) -> None:
        self.do(lambda session: retract_run(session, run, make_run(session, "undo-run", of=str(run))))

    def promote(self, models: ModelSet) -> None:
        self.do(lambda session: promote(session, "label", models))

    def changes(self) -> list[Row]:
        rows = self.analyst.execute(
            text("SELECT label_before, label, reason FROM changes ORDER BY changed_at")
        )
        return [tuple(row) for row in rows]


@pytest.fixture
def scene(database: Database) -> Iterator[Scene]:
    engine = make_engine(database.url("writer"))
    analysts = create_engine(database.url("analyst"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with analysts.connect() as analyst:
        yield Scene(engine, analyst)
    engine.dispose()


def test_a_first_label_and_an_equal_one_are_no_changes(scene: Scene) -> None:
    scene.answer("cat")
    scene.answer("cat", llm=scene.do(make_llm))
    assert scene.changes() == []


def test_another_version_of_the_library_and_another_model_are_told_apart(scene: Scene) -> None:
    later = scene.do(lambda session: make_library(session, scene.codec_id, shot="another"))
    scene.answer("cat")
    scene.answer("dog", later)
    scene.answer("rain", later, scene.do(make_llm))
    scene.answer("cat", later, scene.do(make_llm), work_key=sha256("other parameters"))
    assert scene.changes() == [
        ("cat", "dog", "new library"),
        ("dog", "rain", "new model"),
        ("rain", "cat", "asked otherwise"),
    ]


def test_what_is_undone_and_restored_says_so(scene: Scene) -> None:
    scene.answer("cat")
    night = scene.answer("dog", llm=scene.do(make_llm))
    scene.undo(night)
    scene.do(lambda session: restore_run(session, night))
    assert scene.changes() == [
        ("cat", "dog", "new model"),
        ("dog", "cat", "undone"),
        ("cat", "dog", "restored"),
    ]


def test_a_label_that_is_undone_without_another_one_ends(scene: Scene) -> None:
    scene.undo(scene.answer("cat"))
    assert scene.changes() == [("cat", None, "undone")]


def test_a_promotion_changes_labels_back_and_forth(scene: Scene) -> None:
    later = scene.do(lambda session: make_library(session, scene.codec_id, shot="another"))
    scene.answer("cat")
    scene.answer("dog", later)
    for version in (scene.library, later):
        scene.promote(ModelSet(version.id, scene.codec_id, None))
    assert scene.changes() == [
        ("cat", "dog", "new library"),
        ("dog", "cat", "promoted"),
        ("cat", "dog", "promoted"),
    ]


def test_other_bytes_under_the_same_name_are_the_reason(scene: Scene) -> None:
    scene.answer("cat")
    scene.do(lambda session: add_clips(session, [listed("a.wav", "v2"), listed("b.wav")], FOLDER))

    def tokenize(session: Session) -> None:
        again = tokenized(clip_id(session, "a.wav"), "new bytes")
        save_tokens(session, scene.codec_id, make_run(session, "tokenize again"), [again])

    scene.do(tokenize)
    scene.answer("dog", about="new bytes")
    scene.answer("dog", about="b.wav")
    assert scene.changes() == [("cat", "dog", "new bytes")]


@pytest.mark.parametrize("seed", range(3))
def test_new_bytes_are_the_reason_where_the_last_label_before_is_not_the_first_one_since(
    database: Database, seed: int
) -> None:
    engine, seen = make_engine(database.url("owner")), 0
    with Session(engine, expire_on_commit=False) as session:
        world = World(session, seed)
        for _ in range(150):
            session.commit()
            world.happen()
            shown = sorted(map(tuple, session.execute(NEW_BYTES)))
            assert shown == sorted(_new_bytes(session))
            seen += len(shown)
    engine.dispose()
    assert seen


def _new_bytes(session: Session) -> Iterator[tuple[object, ...]]:
    """Compare each replaced version of a clip with the next one, where both answers are still there."""
    kept = set(session.scalars(text("SELECT id FROM predictions")))
    spans: dict[int, dict[tuple[str, str], list[Any]]] = {}
    for span in session.execute(SPANS):
        spans.setdefault(span.clip_id, {}).setdefault((span.task, span.library), []).append(span)
    versions = session.execute(VERSIONS).all()
    for before in (version for version in versions if not version.is_newest):
        later = [one.clip_id for one in versions if one.uri == before.uri and one.clip_id > before.clip_id]
        first = spans.get(min(later, default=-1), {})
        for key, ended in spans.get(before.clip_id, {}).items():
            old, new = ended[-1], first[key][0] if key in first else ended[-1]
            if new.label != old.label and {old.answer, new.answer} <= kept:
                yield new.uri, *key, old.label, new.label, new.since, old.answer, new.answer


def test_answers_that_people_reviewed_at_random_tell_the_accuracy_of_their_night(scene: Scene) -> None:
    night = scene.answer("cat")
    other = scene.answer("dog", about="b.wav")

    def review(session: Session) -> None:
        queue = make_run(session, "queue reviews")
        session.execute(QUEUED, {"run": queue})
        session.execute(DECIDED)

    scene.do(review)
    question = "SELECT run, library, library_version, source, truth, answers, correct FROM accuracy"
    of_both = ("animals", "animals@1", "reviews", "random reviews", 1.0)
    found = {row[0]: tuple(row[1:]) for row in scene.analyst.execute(text(question))}
    assert found == {night: (*of_both, 1.0), other: (*of_both, 0.0)}


QUEUED = text(
    """
    INSERT INTO review_queue (demonstration_set_id, content_sha256, prediction_id, uri, status, position,
      drawn, reason, run_id)
    SELECT p.demonstration_set_id, p.content_sha256, p.id, 'uri', 'labeled', p.id, 'random', 'random', :run
    FROM predictions p
    """
)
DECIDED = text(
    """
    INSERT INTO review_decisions (review_id, verdict, label, reviewer, source, came_from, shown, external_id)
    SELECT q.id, 'label', 'cat', 'me', 'page', '', '{}', q.id::text FROM review_queue q
    """
)


def test_a_change_names_its_runs_and_its_answers(scene: Scene) -> None:
    before = scene.answer("cat")
    after = scene.answer("dog", llm=scene.do(make_llm))
    question = """
        SELECT c.uri, c.run_before, c.run, o.label, n.label, c.changed_at = n.created_at
        FROM changes c JOIN history o ON o.answer = c.answer_before JOIN history n ON n.answer = c.answer
    """
    [row] = scene.analyst.execute(text(question))
    assert tuple(row) == (f"{FOLDER}/a.wav", before, after, "cat", "dog", True)
