"""Generations of answers: one is promoted, two are compared, retracted answers are nobody's."""

from sqlalchemy.orm import Session

from db.libraries import LibraryVersion
from db.predictions import save_predictions
from db.promotions import (
    Generation,
    describe,
    has_standing_answers,
    latest_generation,
    promote,
    promoted,
    promoted_codecs,
    side_by_side,
)
from db.retractions import retract_run
from tests.db.rows import FOLDER, make_llm, make_run, prediction


def test_promoting_again_replaces_the_promotion(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    assert promoted(session, "label", library.name) is None
    assert promoted_codecs(session) == []
    for llm_id in (make_llm(session), None):
        promote(session, "label", Generation(library.id, codec_id, llm_id))
        assert promoted(session, "label", library.name) == Generation(library.id, codec_id, llm_id)
    assert promoted_codecs(session) == [codec_id]


def test_two_generations_are_compared_where_both_answered(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    llm_id = make_llm(session)
    old, new = Generation(library.id, codec_id, None), Generation(library.id, codec_id, llm_id)
    before = [prediction(name, library, codec_id, None, "cat") for name in ("a.wav", "b.wav")]
    save_predictions(session, make_run(session, attempt=1), before)
    after = [prediction("b.wav", library, codec_id, llm_id, "dog", margin=0.2)]
    run_id = make_run(session, attempt=2)
    save_predictions(session, run_id, after)
    [clip] = side_by_side(session, "label", FOLDER, old, new)
    assert (clip.uri, clip.old_label, clip.new_label, clip.new_margin) == (
        f"{FOLDER}/b.wav",
        "cat",
        "dog",
        0.2,
    )
    assert latest_generation(session, "label", library.name, besides=new) == old
    retract_run(session, run_id, make_run(session, "undo"))
    assert side_by_side(session, "label", FOLDER, old, new) == []
    assert not has_standing_answers(session, "label", new)
    assert has_standing_answers(session, "label", old)
    assert latest_generation(session, "label", library.name, besides=old) is None


def test_a_generation_is_described_for_people(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    asked = Generation(library.id, codec_id, make_llm(session))
    assert describe(session, asked) == "animals@1, codec tiny c0dec, LLM tiny-llama 11a3a"
    assert describe(session, Generation(library.id, codec_id, None)).endswith(", no LLM")
