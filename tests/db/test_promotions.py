"""Generations of answers: one is promoted, two are compared, retracted answers are nobody's."""

from sqlalchemy.orm import Session

from db.libraries import LibraryVersion
from db.predictions import save_predictions
from db.promotions import (
    ModelSet,
    answer_pairs,
    describe_model_set,
    has_standing_answers,
    latest_model_set,
    promote,
    promoted_codecs,
    promoted_model_set,
)
from db.retractions import retract_run
from tests.db.rows import FOLDER, make_llm, make_run, prediction


def test_promoting_again_replaces_the_promotion(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    assert promoted_model_set(session, "label", library.name) is None
    assert promoted_codecs(session) == []
    for llm_id in (make_llm(session), None):
        promote(session, "label", ModelSet(library.id, codec_id, llm_id))
        assert promoted_model_set(session, "label", library.name) == ModelSet(library.id, codec_id, llm_id)
    assert promoted_codecs(session) == [codec_id]


def test_two_generations_are_compared_where_both_answered(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    llm_id = make_llm(session)
    old, new = ModelSet(library.id, codec_id, None), ModelSet(library.id, codec_id, llm_id)
    before = [prediction(name, library, codec_id, None, "cat") for name in ("a.wav", "b.wav")]
    save_predictions(session, make_run(session, attempt=1), before)
    after = [prediction("b.wav", library, codec_id, llm_id, "dog", margin=0.2)]
    run_id = make_run(session, attempt=2)
    save_predictions(session, run_id, after)
    [clip] = answer_pairs(session, "label", FOLDER, old, new)
    assert (clip.uri, clip.old_label, clip.new_label, clip.new_margin) == (
        f"{FOLDER}/b.wav",
        "cat",
        "dog",
        0.2,
    )
    assert latest_model_set(session, "label", library.name, besides=new) == old
    retract_run(session, run_id, make_run(session, "undo"))
    assert answer_pairs(session, "label", FOLDER, old, new) == []
    assert not has_standing_answers(session, "label", new)
    assert has_standing_answers(session, "label", old)
    assert latest_model_set(session, "label", library.name, besides=old) is None


def test_a_generation_is_described_for_people(
    session: Session, codec_id: int, library: LibraryVersion
) -> None:
    asked = ModelSet(library.id, codec_id, make_llm(session))
    assert describe_model_set(session, asked) == "animals@1, codec tiny c0dec, LLM tiny-llama 11a3a"
    assert describe_model_set(session, ModelSet(library.id, codec_id, None)).endswith(", no LLM")
