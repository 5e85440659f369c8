"""Queues and decisions as rows: added, never changed, and read back as what counts."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.orm import Session

from db.engine import make_engine, session_scope
from db.libraries import LibraryDemonstration, LibraryVersion, import_library
from db.predictions import save_predictions
from db.reviews.decisions import (
    NewDecision,
    Verdict,
    add_decisions,
    decided_clips,
    own_decisions,
    record_decision,
)
from db.reviews.queue import (
    NewReview,
    QueuedClip,
    doubtful_candidates,
    open_queue,
    queue_of_run,
    random_candidates,
    save_queue,
)
from db.tokens import save_tokens
from tests.db.rows import make_library, make_run, make_tokenized_clips, prediction, sha256, tokenized
from tests.fixtures_postgres import Database

NAMES = tuple(f"{name}.wav" for name in "abcdefgh")


@pytest.fixture
def answered(session: Session) -> LibraryVersion:
    """Eight answers by a library, h.wav the least sure one."""
    return answer_all(session)


def answer_all(session: Session) -> LibraryVersion:
    codec_id = make_tokenized_clips(session, *NAMES)
    library = make_library(session, codec_id)
    answers = [
        prediction(name, library, codec_id, None, margin=0.9 - number / 10)
        for number, name in enumerate(NAMES)
    ]
    save_predictions(session, make_run(session), answers)
    return library


def queue(session: Session, library: LibraryVersion, **run: object) -> list[QueuedClip]:
    """Queue the two least sure answers and a random one."""
    found = doubtful_candidates(session, library.name, library.id, 2)
    (drawn,) = random_candidates(session, library.name, library.id, 1)
    random = [] if drawn in found else [NewReview(drawn, "random")]
    run_id = make_run(session, "review-queue", **run)
    save_queue(session, run_id, library.id, [*(NewReview(one, "doubt", 1.5, 2) for one in found), *random])
    return queue_of_run(session, run_id)


def decide(clip: QueuedClip, label: str | None, reviewer: str = "anna", name: str = "1") -> NewDecision:
    verdict: Verdict = "none" if label is None else "label"
    return NewDecision(clip.review, verdict, label, None, reviewer, "here", {"answer": "dog"}, name)


def test_the_least_sure_come_first_and_demonstrations_never(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav", "b.wav", "c.wav")
    library = make_library(session, codec_id)
    answers = [
        prediction("a.wav", library, codec_id, None, margin=0.4),
        prediction("b.wav", library, codec_id, None, margin=0.1, is_demonstration=True),
        prediction("c.wav", library, codec_id, None, margin=0.8, distance=0.9, max_distance=0.5),
    ]
    save_predictions(session, make_run(session), answers)
    found = doubtful_candidates(session, library.name, library.id, 10)
    assert [(one.content_sha256, one.status) for one in found] == [
        (sha256("c.wav"), "unknown"),
        (sha256("a.wav"), "labeled"),
    ]


def test_answers_by_another_version_and_decided_clips_are_not_asked_about(
    session: Session, answered: LibraryVersion
) -> None:
    first, *queued = queue(session, answered)
    add_decisions(session, "csv", [decide(first, "cat")])
    left = doubtful_candidates(session, answered.name, answered.id, 10)
    measuring = {one.content_sha256 for one in queued if one.drawn == "random"}
    assert {one.content_sha256 for one in left} == set(map(sha256, NAMES)) - measuring - {
        first.content_sha256
    }
    other = import_library(
        session, answered.name, "label", None, [LibraryDemonstration(sha256("a.wav"), "cat", "file:///a")]
    )
    assert doubtful_candidates(session, other.name, other.id, 10) == []


def test_a_clip_that_vanished_is_not_asked_about(session: Session, answered: LibraryVersion) -> None:
    session.execute(text("UPDATE clips SET missing_since = now() WHERE uri LIKE '%h.wav'"))
    found = doubtful_candidates(session, answered.name, answered.id, 1)
    assert found[0].content_sha256 == sha256("g.wav")


def test_random_clips_come_in_the_same_order_until_they_are_decided(
    session: Session, answered: LibraryVersion
) -> None:
    order = [one.content_sha256 for one in random_candidates(session, answered.name, answered.id, 99)]
    assert sorted(order) == sorted(map(sha256, NAMES))
    assert order != sorted(order)
    again = random_candidates(session, answered.name, answered.id, 3)
    assert [one.content_sha256 for one in again] == order[:3]


def test_the_newest_queue_waits_and_a_decision_takes_its_clip_away(
    session: Session, answered: LibraryVersion
) -> None:
    older, newer = queue(session, answered, attempt=1), queue(session, answered, attempt=2)
    assert older
    waiting = open_queue(session, answered.name)
    assert waiting == newer
    add_decisions(session, "csv", [decide(newer[0], "cat")])
    assert [one.review for one in open_queue(session, answered.name)] == [one.review for one in newer[1:]]


def test_two_reviewers_disagree_and_the_latest_counts(session: Session, answered: LibraryVersion) -> None:
    clip = queue(session, answered)[0]
    assert add_decisions(session, "csv", [decide(clip, "cat", "anna", "1")]) == 1
    assert add_decisions(session, "csv", [decide(clip, "dog", "ben", "2")]) == 1
    (decided,) = decided_clips(session, answered.name)
    assert decided.is_disputed
    assert (decided.label, decided.latest.reviewer) == ("dog", "ben")
    assert [(one.label, one.reviewer) for one in decided.earlier] == [("cat", "anna")]
    disputed = session.scalar(text("SELECT is_disputed FROM analytics.reviews WHERE decisions = 2"))
    assert disputed is True


def test_a_decision_that_came_before_is_not_added_again(session: Session, answered: LibraryVersion) -> None:
    clip = queue(session, answered)[0]
    assert add_decisions(session, "csv", [decide(clip, "cat")]) == 1
    assert add_decisions(session, "csv", [decide(clip, "dog")]) == 0
    assert own_decisions(session, "page", [clip.review]) == {}
    assert [one.label for one in own_decisions(session, "csv", [clip.review])[clip.review, "anna"]] == ["cat"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"verdict": "label", "label": None},
        {"verdict": "none", "label": "dog"},
        {"verdict": "maybe", "label": None},
        {"verdict": "label", "label": ""},
        {"verdict": "label", "label": "x" * 201},
        {"verdict": "skip", "label": None, "note": "x" * 1001},
        {"verdict": "skip", "label": None, "reviewer": ""},
        {"verdict": "skip", "label": None, "shown": {"much": "x" * 20_000}},
    ],
)
def test_decisions_that_say_nothing_or_too_much_are_refused(
    session: Session, answered: LibraryVersion, wrong: dict[str, object]
) -> None:
    clip = queue(session, answered)[0]
    given = vars(decide(clip, "dog")) | wrong
    with pytest.raises(IntegrityError):
        add_decisions(session, "csv", [NewDecision(**given)])


def test_accuracy_counts_random_clips_alone_with_its_interval(
    session: Session, answered: LibraryVersion
) -> None:
    drawn = random_candidates(session, answered.name, answered.id, 4)
    doubtful = [
        one for one in doubtful_candidates(session, answered.name, answered.id, 9) if one not in drawn
    ]
    run_id = make_run(session, "review-queue")
    reviews = [*(NewReview(one, "random") for one in drawn), NewReview(doubtful[0], "doubt", 1.0, 1)]
    save_queue(session, run_id, answered.id, reviews)
    clips = queue_of_run(session, run_id)
    labels = ["dog", "dog", "dog", "cat", "cat"]
    rows = [decide(clip, label, name=str(clip.review)) for clip, label in zip(clips, labels, strict=True)]
    add_decisions(session, "csv", rows)
    (total,) = session.execute(
        text(
            'SELECT reviews, "right", accuracy, accuracy_low, accuracy_high FROM analytics.review_accuracy'
            " WHERE week IS NULL AND label IS NULL"
        )
    )
    assert tuple(total)[:3] == (4, 3, 0.75)
    assert total[3:] == pytest.approx((0.3006, 0.9544), abs=1e-3)


def drawn_at_random(session: Session, library: LibraryVersion, count: int, **where: Any) -> list[bytes]:
    found = random_candidates(session, library.name, library.id, count, **where)
    return [one.content_sha256 for one in found]


def decided(
    session: Session, library: LibraryVersion, contents: Sequence[bytes], label: str, drawn: str
) -> None:
    """Queue answers as chosen or as random ones, and decide about them."""
    found = {one.content_sha256: one for one in random_candidates(session, library.name, library.id, 999)}
    gain = (1.0, 1) if drawn == "chosen" else (None, None)
    number = session.scalar(text("SELECT count(*) FROM review_queue"))
    run_id = make_run(session, "review-queue", attempt=100 + number)
    save_queue(session, run_id, library.id, [NewReview(found[one], drawn, *gain) for one in contents])
    rows = [decide(clip, label, name=f"at {clip.review}") for clip in queue_of_run(session, run_id)]
    add_decisions(session, "csv", rows)


def test_the_draw_of_random_clips_does_not_depend_on_what_was_chosen_and_decided(
    session: Session, answered: LibraryVersion
) -> None:
    order = drawn_at_random(session, answered, 8)
    assert len(order) == 8
    assert drawn_at_random(session, answered, 3) == order[:3]
    decided(session, answered, [order[0], order[4], order[7]], "cat", "chosen")
    assert drawn_at_random(session, answered, 8) == order
    decided(session, answered, order[:2], "dog", "random")
    assert drawn_at_random(session, answered, 3) == order[2:5]
    assert drawn_at_random(session, answered, 2, waiting=[order[6]]) == [order[6], order[2]]
    night = [f"s3://bucket/day/{name}" for name in ("a.wav", "b.wav", "c.wav")]
    of_night = {sha256(name) for name in ("a.wav", "b.wav", "c.wav")} - set(order[:2])
    assert set(drawn_at_random(session, answered, 8, night=night)) == of_night
    assert drawn_at_random(session, answered, 8, night="s3://bucket/day/") == order[2:]
    assert drawn_at_random(session, answered, 8, night="s3://bucket/da") == []


def test_random_clips_are_as_right_as_all_where_doubtful_ones_were_decided(session: Session) -> None:
    names = [f"{number}.wav" for number in range(200)]
    codec_id = make_tokenized_clips(session, *names)
    library = make_library(session, codec_id)
    wrong = {sha256(name) for name in names[::4]}
    answers = [
        prediction(name, library, codec_id, None, margin=0.1 if sha256(name) in wrong else 0.8)
        for name in names
    ]
    save_predictions(session, make_run(session), answers)
    decided(session, library, sorted(wrong), "cat", "chosen")
    assert decided_clips(session, library.name)
    drawn = drawn_at_random(session, library, 100)
    assert 15 <= sum(content in wrong for content in drawn) <= 35


def test_what_a_random_review_decided_counts_for_the_answer_of_the_next_version(
    session: Session, answered: LibraryVersion
) -> None:
    order = drawn_at_random(session, answered, 8)
    decided(session, answered, order[:3], "cat", "random")
    decided(session, answered, order[3:5], "cat", "chosen")
    (codec_id,) = session.execute(text("SELECT DISTINCT codec_id FROM predictions")).scalars()
    save_tokens(session, codec_id, make_run(session, "library", attempt=2), [tokenized(None, "other")])
    shown = [LibraryDemonstration(sha256("other"), "cat", "file:///a")]
    other = import_library(session, answered.name, "label", None, shown)
    names = {sha256(name): name for name in NAMES}
    answers = [
        prediction(names[content], other, codec_id, None, label=label)
        for content, label in zip(order[:5], ("cat", "cat", "dog", "cat", "cat"), strict=True)
    ]
    save_predictions(session, make_run(session, attempt=7), answers)
    found = session.execute(
        text(
            'SELECT version, reviews, "right" FROM analytics.review_accuracy '
            "WHERE week IS NULL AND label IS NULL ORDER BY version"
        )
    )
    assert [tuple(row) for row in found] == [(answered.version, 3, 0), (other.version, 3, 2)]


def test_what_was_decided_beside_the_answer_is_no_random_review(
    session: Session, answered: LibraryVersion
) -> None:
    order = drawn_at_random(session, answered, 2)
    decided(session, answered, order[:1], "cat", "chosen")
    (before,) = decided_clips(session, answered.name)
    assert not before.is_random
    decided(session, answered, order[:1], "dog", "random")
    (after,) = decided_clips(session, answered.name)
    assert (after.is_random, after.label, after.earlier) == (True, "dog", ())


def test_a_later_skip_takes_no_decision_out_of_the_accuracy_and_a_content_counts_once(
    session: Session, answered: LibraryVersion
) -> None:
    (drawn,) = random_candidates(session, answered.name, answered.id, 1)
    clips = []
    for attempt in (1, 2):
        run_id = make_run(session, "review-queue", attempt=attempt)
        save_queue(session, run_id, answered.id, [NewReview(drawn, "random")])
        clips += queue_of_run(session, run_id)
    skip = NewDecision(clips[0].review, "skip", None, None, "ben", "here", {}, "2")
    add_decisions(session, "csv", [decide(clips[0], "dog"), skip, decide(clips[1], "dog", name="3")])
    review = "SELECT verdict, decided_label, is_right FROM analytics.reviews WHERE review = :review"
    assert session.execute(text(review), {"review": clips[0].review}).one() == ("label", "dog", True)
    total = "SELECT reviews FROM analytics.review_accuracy WHERE week IS NULL AND label IS NULL"
    assert session.scalar(text(total)) == 1


@pytest.fixture
def committed(database: Database) -> Iterator[tuple[Database, int]]:
    """A database with a queued clip, whose id is given."""
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        clip = queue(session, answer_all(session))[0]
    yield database, clip.review
    engine.dispose()


def as_analyst(database: Database, statement: str, **values: object) -> object:
    engine = create_engine(database.url("analyst"), poolclass=NullPool)
    with engine.connect() as connection, connection.begin():
        connection.execute(text("SET TRANSACTION READ WRITE"))
        return connection.scalar(text(statement), values)


def test_an_analyst_adds_decisions_and_changes_none(committed: tuple[Database, int]) -> None:
    database, review = committed
    call = "SELECT analytics.record_decision(:review, 'label', :label, 'meows', 'anna', '', '{}', :name)"
    assert as_analyst(database, call, review=review, label="dog", name="a" * 32)
    assert as_analyst(database, call, review=review, label="dog", name="a" * 32) is None
    row = "SELECT written_by || ' ' || source || ' ' || label FROM analytics.review_decisions"
    assert as_analyst(database, row) == "wordwave_analyst page dog"
    with pytest.raises(DBAPIError, match=r"'cat' is no label of the library version of review"):
        as_analyst(database, call, review=review, label="cat", name="b" * 32)
    for statement in (
        "DELETE FROM public.review_decisions",
        "UPDATE public.review_decisions SET label = 'cat'",
        "INSERT INTO public.review_queue DEFAULT VALUES",
        "DELETE FROM analytics.review_decisions",
        "SELECT set_config('role', 'wordwave_owner', false)",
    ):
        with pytest.raises(DBAPIError, match=r"denied|cannot delete"):
            as_analyst(database, statement)


def test_a_decision_needs_a_queued_clip_and_there_is_an_end_to_them(committed: tuple[Database, int]) -> None:
    database, review = committed
    call = "SELECT analytics.record_decision(:review, 'skip', NULL, NULL, 'anna', '', '{}', :name)"
    with pytest.raises(DBAPIError, match="no clip is queued as review 999999"):
        as_analyst(database, call, review=999_999, name="x")
    for number in range(100):
        as_analyst(database, call, review=review, name=str(number))
    with pytest.raises(DBAPIError, match="has 100 decisions"):
        as_analyst(database, call, review=review, name="one more")


def test_the_page_records_as_an_analyst(committed: tuple[Database, int]) -> None:
    database, review = committed
    engine = make_engine(database.url("analyst")).execution_options(postgresql_readonly=False)
    decision = NewDecision(review, "label", "dog", None, "anna", "::1", {}, "f" * 32)
    with session_scope(engine) as session:
        assert record_decision(session, decision, "{}")
        assert not record_decision(session, decision, "{}")
    engine.dispose()
