"""Choices of labelers: rows with history that select among stored answers."""

from dataclasses import replace

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from db.labeler_choices import StoredChoice, add_choice, add_first_choice, current_choice
from db.libraries import LibraryVersion
from db.predictions import NewPrediction, save_predictions
from db.promotions import ModelSet, answer_pairs, has_standing_answers, promote
from tests.db.rows import FOLDER, make_codec, make_llm, make_run, prediction, sha256

CALIBRATION = {"temperature": 0.1 + 0.2, "bias": [1e-07, -0.25]}
MIXTURE = StoredChoice("mixture", CALIBRATION, "the best", {"candidates": []}, "run")


@pytest.fixture
def models(session: Session, codec_id: int, library: LibraryVersion) -> ModelSet:
    return ModelSet(library.id, codec_id, make_llm(session))


def answer(library: LibraryVersion, models: ModelSet, labeler: str, **changes: object) -> NewPrediction:
    """An answer about a.wav without an LLM."""
    own = {"work_key": sha256(f"{labeler} {changes}"), "labeler": labeler, "calibration": None}
    return prediction("a.wav", library, models.codec_id, None, **(own | changes))  # type: ignore[arg-type]


def current(session: Session) -> list[tuple[object, ...]]:
    labels = text("SELECT labeler, label, is_chosen, is_promoted FROM analytics.labels")
    return [tuple(row) for row in session.execute(labels)]


def test_the_last_choice_of_the_same_models_counts_and_comes_back_exactly(
    session: Session, models: ModelSet
) -> None:
    assert current_choice(session, models) is None
    add_first_choice(session, models, MIXTURE, make_run(session))
    assert current_choice(session, models) == MIXTURE
    assert current_choice(session, replace(models, llm_id=None)) is None
    add_choice(session, models, named := replace(MIXTURE, labeler="few-shot", chosen_by="person"))
    assert current_choice(session, models) == named


def test_of_two_first_choices_the_first_one_stays(session: Session, models: ModelSet) -> None:
    add_first_choice(session, models, MIXTURE, make_run(session))
    add_first_choice(session, models, replace(MIXTURE, labeler="few-shot"), make_run(session, attempt=2))
    assert current_choice(session, models) == MIXTURE


def test_the_choice_selects_answers_of_its_labeler_and_calibration(
    session: Session, library: LibraryVersion, models: ModelSet
) -> None:
    chosen = answer(library, models, "mixture", calibration=CALIBRATION, label="dog")
    raw = answer(library, models, "mixture", label="cat")
    save_predictions(session, make_run(session, attempt=1), [chosen])
    save_predictions(session, make_run(session, attempt=2), [raw])
    assert current(session) == [("mixture", "cat", False, False)]
    add_choice(session, models, replace(MIXTURE, chosen_by="person"))
    assert current(session) == [("mixture", "dog", True, False)]
    add_choice(session, models, StoredChoice("nearest latents", None, "", None, "person"))
    assert current(session) == [("mixture", "cat", False, False)]


def test_a_choice_of_other_models_selects_nothing(
    session: Session, library: LibraryVersion, models: ModelSet
) -> None:
    first = answer(library, models, "mixture", calibration=CALIBRATION)
    save_predictions(session, make_run(session, attempt=1), [first])
    save_predictions(
        session, make_run(session, attempt=2), [answer(library, models, "few-shot", label="cat")]
    )
    other = ModelSet(library.id, make_codec(session, "other"), models.llm_id)
    add_choice(session, other, replace(MIXTURE, chosen_by="person"))
    assert current(session) == [("few-shot", "cat", False, False)]


def test_answers_by_the_chosen_labeler_belong_to_models_that_are_promoted(
    session: Session, library: LibraryVersion, models: ModelSet
) -> None:
    chosen = answer(library, models, "mixture", calibration=CALIBRATION)
    save_predictions(session, make_run(session, attempt=1), [chosen])
    assert not has_standing_answers(session, "label", models)
    add_choice(session, models, replace(MIXTURE, chosen_by="person"))
    assert has_standing_answers(session, "label", models)
    by_llm = prediction("a.wav", library, models.codec_id, models.llm_id, "cat")
    save_predictions(session, make_run(session, attempt=2), [by_llm])
    promote(session, "label", models)
    assert current(session) == [("mixture", "dog", True, True)]
    [pair] = answer_pairs(session, "label", FOLDER, models, models)
    assert (pair.old_label, pair.new_label) == ("dog", "dog")
