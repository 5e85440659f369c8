"""One standing answer per work key; retraction makes room for another and deletes nothing."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.clips import add_clips, link_contents
from db.libraries import LibraryVersion
from db.models import PredictionRow
from db.predictions import (
    existing_work_keys,
    get_answers,
    get_margins,
    save_predictions,
    set_min_margin,
)
from db.retractions import restore_run, retract_run
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_llm,
    make_run,
    prediction,
    run_answers,
    sha256,
)


def test_a_second_answer_to_the_same_work_is_not_written(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    llm_id, first = make_llm(session), make_run(session, attempt=1)
    answers = [prediction(name, library, codec_id, llm_id) for name in ("b.wav", "a.wav")]
    assert save_predictions(session, first, answers[:1]) == 1
    assert save_predictions(session, make_run(session, attempt=2), answers) == 1
    assert save_predictions(session, first, []) == 0
    keys = [answer.work_key for answer in answers]
    assert existing_work_keys(session, [*keys, sha256("other")]) == set(keys)


@pytest.mark.parametrize("at_a_time", [1, 2, 3])
def test_many_work_keys_are_asked_in_parts_and_none_is_left_out(
    session: Session,
    codec_id: int,
    library: LibraryVersion,
    monkeypatch: pytest.MonkeyPatch,
    at_a_time: int,
) -> None:
    monkeypatch.setattr("db.predictions.KEYS_AT_A_TIME", at_a_time)
    run_id = make_run(session)
    answers = [prediction(name, library, codec_id, None) for name in ("a.wav", "b.wav")]
    save_predictions(session, run_id, answers)
    keys = {answer.work_key for answer in answers}
    asked = [sha256("other"), *keys]
    assert existing_work_keys(session, asked) == keys
    assert get_margins(session, asked) == {answer.work_key: answer.margin for answer in answers}
    set_min_margin(session, asked, 0.75)
    bounds = {answer.uri: answer.min_margin for answer in run_answers(session, run_id)}
    assert bounds == {f"{FOLDER}/{name}": 0.75 for name in ("a.wav", "b.wav")}


def test_answers_come_in_uri_order_for_every_clip_of_a_content(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    add_clips(session, map(listed, ["a.wav", "b.wav", "0.wav"]), FOLDER)
    link_contents(session, {clip_id(session, "0.wav"): sha256("b.wav")})
    run_id = make_run(session)
    batch = [prediction(name, library, codec_id, None) for name in ("a.wav", "b.wav")]
    save_predictions(session, run_id, batch)
    answers = get_answers(session, FOLDER, [answer.work_key for answer in batch])
    assert [answer.uri for answer in answers] == [f"{FOLDER}/{name}" for name in ("0.wav", "a.wav", "b.wav")]
    assert answers == run_answers(session, run_id)
    assert get_answers(session, {f"{FOLDER}/a.wav"}, [batch[1].work_key]) == []
    assert (answers[0].probability, answers[0].status) == (0.75, "labeled")


def test_an_answer_under_the_asked_margin_is_uncertain(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    run_id = make_run(session)
    save_predictions(session, run_id, [prediction("a.wav", library, codec_id, None, margin=0.09)])
    assert [answer.status for answer in run_answers(session, run_id)] == ["uncertain"]


def test_a_retracted_answer_stays_and_its_work_can_be_done_again(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    wrong, undo = make_run(session, attempt=1), make_run(session, "undo")
    answer = prediction("a.wav", library, codec_id, None)
    save_predictions(session, wrong, [answer])
    assert retract_run(session, wrong, undo) == 1
    assert retract_run(session, wrong, undo) == 0
    assert existing_work_keys(session, [answer.work_key]) == set()
    assert run_answers(session, wrong) == []
    assert save_predictions(session, make_run(session, attempt=2), [answer]) == 1
    assert session.scalar(select(func.count()).select_from(PredictionRow)) == 2


def test_restored_answers_stand_again_unless_their_work_was_done_anew(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    run, undo = make_run(session, attempt=1), make_run(session, "undo")
    answers = [prediction(name, library, codec_id, None) for name in ("a.wav", "b.wav")]
    save_predictions(session, run, answers)
    retract_run(session, run, undo)
    anew = make_run(session, attempt=2)
    save_predictions(session, anew, answers[:1])
    assert restore_run(session, run) == 1
    assert restore_run(session, run) == 0
    stand = {answer.uri: answer.run_id for of in (run, anew) for answer in run_answers(session, of)}
    assert stand == {f"{FOLDER}/a.wav": anew, f"{FOLDER}/b.wav": run}


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"margin": float("nan")}, "margin"),
        ({"margin": -0.1}, "margin"),
        ({"label": "wolf"}, "probability"),
        ({"work_key": b"short"}, "work_key_length"),
        ({"baselines": {"chance": "half"}}, "chance"),
    ],
)
def test_an_answer_that_makes_no_sense_is_refused(
    session: Session, codec_id: int, library: LibraryVersion, changes: dict[str, object], constraint: str
) -> None:
    values = {"probabilities": {"dog": 0.75}} | changes
    wrong = prediction("a.wav", library, codec_id, None, **values)  # type: ignore[arg-type]
    with pytest.raises(IntegrityError, match=f"ck_predictions_{constraint}"):
        save_predictions(session, make_run(session), [wrong])
