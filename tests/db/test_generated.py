"""One standing audio per work key; what a run made is retracted and stands again with its labels."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.generated import existing_audio, get_audio, get_audio_codes, save_audio
from db.libraries import LibraryVersion
from db.models import GeneratedAudio
from db.predictions import save_predictions
from db.retractions import has_answers, restore_run, retract_run
from tests.db.rows import audio, make_llm, make_run, prediction, sha256


def test_a_second_audio_of_the_same_work_is_not_written(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    llm_id, first = make_llm(session), make_run(session, attempt=1)
    made = [audio(text, library, codec_id, llm_id) for text in ("two", "one")]
    assert save_audio(session, first, made[:1]) == 1
    assert save_audio(session, make_run(session, attempt=2), made) == 1
    assert save_audio(session, first, []) == 0
    keys = [one.work_key for one in made]
    assert existing_audio(session, [*keys, sha256("other")]) == set(keys)


def test_audio_is_found_as_it_was_written(session: Session, codec_id: int, library: LibraryVersion) -> None:
    made, run_id = audio("one", library, codec_id, make_llm(session)), make_run(session)
    save_audio(session, run_id, [made])
    found = get_audio(session, [made.work_key, sha256("other")])
    assert list(found) == [made.work_key]
    assert get_audio_codes(session, [made.work_key, sha256("other")]) == {
        made.work_key: ((0, 2), (1, 1, 0, 7), (7,) * 8)
    }
    stored = vars(found[made.work_key])
    assert stored.pop("run_id") == run_id
    assert stored.pop("created_at")
    assert stored == {name: vars(made)[name] for name in stored}


def test_a_retracted_run_takes_back_labels_and_audio_and_both_stand_again(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    run, undo, llm_id = make_run(session), make_run(session, "undo"), make_llm(session)
    made = [audio(text, library, codec_id, llm_id) for text in ("one", "two")]
    assert not has_answers(session, run)
    save_audio(session, run, made)
    assert has_answers(session, run)
    save_predictions(session, run, [prediction("a.wav", library, codec_id, None)])
    assert [retract_run(session, run, undo) for _ in range(2)] == [3, 0]
    assert get_audio(session, [one.work_key for one in made]) == {}
    assert save_audio(session, make_run(session, attempt=2), made[:1]) == 1
    assert [restore_run(session, run) for _ in range(2)] == [2, 0]
    assert session.scalar(select(func.count()).select_from(GeneratedAudio)) == 3


@pytest.mark.parametrize(
    ("changes", "constraint"),
    [
        ({"work_key": b"short"}, "work_key_length"),
        ({"sha256": b"short"}, "sha256_length"),
        ({"text": None}, "asked"),
        ({"content_sha256": sha256("a.wav")}, "asked"),
        ({"duration": 0.0}, "duration"),
        ({"acoustic1": [1, 2, 3]}, "lengths"),
        ({"semantic": []}, "lengths"),
        ({"semantic": [0, -1]}, "codes"),
    ],
)
def test_audio_that_makes_no_sense_is_refused(
    session: Session, codec_id: int, library: LibraryVersion, changes: dict[str, object], constraint: str
) -> None:
    wrong = audio("one", library, codec_id, make_llm(session), **changes)
    with pytest.raises(IntegrityError, match=f"ck_generated_audio_{constraint}"):
        save_audio(session, make_run(session), [wrong])
