"""Events are stored once per work key, with none or many in a content, and retracted with their run."""

from dataclasses import replace

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.embeddings import (
    ContentEmbedding,
    NewEmbeddingModel,
    contents_with_windows,
    ensure_embedding_model,
    get_tags,
    get_windows,
)
from db.events import HeardEvent, NewEvents, events_of_clip, events_of_run, heard_work_keys, save_events
from db.models import EventSet
from db.retractions import restore_run, retract_run
from db.tokens import save_tokens
from tests.db.rows import FOLDER, make_codec, make_library, make_run, make_tokenized_clips, sha256, tokenized

MODEL = NewEmbeddingModel("f1", "tiny-tagger", 2, 0.96, 0.48, "CC0-1.0", ("Dog", "Rain"))
BARK, RAIN = HeardEvent("dog", 0.5, 1.25, 0.75), HeardEvent("rain", 1.0, 3.0, 0.5)


def heard(session: Session, content: str, *events: HeardEvent, **changes: object) -> NewEvents:
    codec_id = make_codec(session)
    values: dict[str, object] = {
        "work_key": sha256(f"events of {content}"),
        "content_sha256": sha256(content),
        "demonstration_set_id": make_library(session, codec_id).id,
        "codec_id": codec_id,
        "embedding_model_id": ensure_embedding_model(session, MODEL),
        "labeler": "class mean tiny-tagger",
        "events": events,
    }
    return NewEvents(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture
def clips(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav")


@pytest.mark.usefixtures("clips")
def test_events_come_back_by_clip_and_a_content_without_events_is_not_asked_again(session: Session) -> None:
    sets = [heard(session, "a.wav", BARK, RAIN), heard(session, "b.wav")]
    run_id = make_run(session)
    assert save_events(session, run_id, sets) == 2
    assert save_events(session, make_run(session, attempt=2), sets) == 0
    keys = {one.work_key for one in sets}
    assert heard_work_keys(session, {*keys, sha256("other")}) == keys
    clip = events_of_clip(session, f"{FOLDER}/a.wav", "animals")
    assert clip
    assert clip.events == [BARK, RAIN]
    empty = events_of_clip(session, f"{FOLDER}/b.wav", "animals")
    assert empty
    assert empty.events == []
    assert events_of_clip(session, f"{FOLDER}/a.wav", "others") is None
    assert [one.uri for one in events_of_run(session, run_id)] == [f"{FOLDER}/a.wav"]


@pytest.mark.usefixtures("clips")
def test_a_retracted_run_takes_its_events_along_and_gives_them_back(session: Session) -> None:
    run_id, undo = make_run(session), make_run(session, "undo-run")
    save_events(session, run_id, [heard(session, "a.wav", BARK)])
    question = text("SELECT uri, library, label, start_s, end_s, score FROM analytics.events")
    shown = session.execute(question).all()
    assert [tuple(row) for row in shown] == [(f"{FOLDER}/a.wav", "animals", "dog", 0.5, 1.25, 0.75)]
    assert retract_run(session, run_id, undo) == 1
    assert session.execute(question).all() == []
    assert events_of_clip(session, f"{FOLDER}/a.wav", "animals") is None
    assert restore_run(session, run_id) == 1
    assert session.execute(question).all() == shown


@pytest.mark.usefixtures("clips")
def test_work_that_was_heard_again_keeps_its_newer_events(session: Session) -> None:
    first, undo, second = make_run(session), make_run(session, "undo-run"), make_run(session, attempt=2)
    save_events(session, first, [heard(session, "a.wav", BARK)])
    retract_run(session, first, undo)
    assert save_events(session, second, [heard(session, "a.wav", RAIN)]) == 1
    assert restore_run(session, first) == 0
    assert session.scalars(select(EventSet.run_id).where(EventSet.retracted_by_run.is_(None))).all() == [
        second
    ]


@pytest.mark.usefixtures("clips")
def test_the_view_has_the_latest_events_of_each_labeler(session: Session) -> None:
    save_events(session, make_run(session), [heard(session, "a.wav", BARK)])
    other = heard(session, "a.wav", RAIN, work_key=sha256("two"), labeler="zero-shot tiny-tagger")
    save_events(session, make_run(session, attempt=2), [other])
    question = text("SELECT labeler, label FROM analytics.events ORDER BY labeler")
    assert [tuple(row) for row in session.execute(question)] == [
        ("class mean tiny-tagger", "dog"),
        ("zero-shot tiny-tagger", "rain"),
    ]


@pytest.mark.usefixtures("clips")
@pytest.mark.parametrize(
    "wrong", [replace(BARK, end_s=0.5), replace(BARK, start_s=-1.0), replace(BARK, score=2.0)]
)
def test_an_event_of_no_time_or_score_is_refused(session: Session, wrong: HeardEvent) -> None:
    with pytest.raises(IntegrityError, match="ck_events_"):
        save_events(session, make_run(session), [heard(session, "a.wav", wrong)])


def test_windows_are_added_to_a_content_that_has_its_embedding_already(session: Session) -> None:
    codec_id, model_id = make_codec(session), ensure_embedding_model(session, MODEL)
    without = ContentEmbedding(model_id, (0.5, 1.0), (0.5, 0.25), ((0, 1, 0.5),))
    save_tokens(session, codec_id, make_run(session), [replace(tokenized(None, "a"), embeddings=[without])])
    assert contents_with_windows(session, [model_id], [sha256("a")]) == set()
    again = replace(tokenized(None, "a"), embeddings=[replace(without, windows=b"\0<\0\0")])
    save_tokens(session, codec_id, make_run(session, attempt=2), [again])
    assert contents_with_windows(session, [model_id], [sha256("a")]) == {sha256("a")}
    assert get_windows(session, model_id, [sha256("a")]) == {sha256("a"): b"\0<\0\0"}
    assert get_tags(session, model_id, [sha256("a")])[sha256("a")].classes == [1]
