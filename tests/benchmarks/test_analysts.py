"""The benchmark of analysts' questions asks all that is documented, here of a small database."""

from pathlib import Path

import pytest
from sqlalchemy import NullPool, create_engine, text

from benchmarks.analysts.__main__ import figures, filled_database, measure, report
from benchmarks.analysts.asking import Patience
from benchmarks.analysts.filling import corpus_of
from benchmarks.analysts.first_views import QUESTIONS, ask_first_views
from benchmarks.analysts.questions import documented_questions
from db.embedded.server import EmbeddedServer

CLIPS, SHORT = 20_000, 512
ONCE = Patience(least=1, most=1, seconds=0)


@pytest.fixture(scope="module")
def questions() -> list[str]:
    return [question.sql for question in documented_questions()]


def test_questions_are_those_of_the_page_and_of_the_saved_queries(questions: list[str]) -> None:
    assert len(questions) >= 20
    for function in ("why", "find_words", "find_codes", "similar_clips", "labels_as_of", "motifs"):
        assert any(f"analytics.{function}(" in question for question in questions), function
    saved = len(list((Path(__file__).parents[2] / "docs" / "queries").glob("*.sql")))
    assert len(questions) >= saved > 10


def test_every_question_has_an_answer_and_similar_clips_are_found(
    postgres: EmbeddedServer, questions: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    measured = measure(postgres, CLIPS, ONCE, SHORT)
    assert [asked.question.sql for asked in measured.asked] == questions
    assert measured.recall >= 0.9
    assert measured.rate.by_clock > 0
    assert measured.rate.by_processor > 0
    assert sum(measured.bytes.values()) > 1_000 * CLIPS
    with create_engine(postgres.url("analyst", f"clips_{CLIPS}"), poolclass=NullPool).connect() as analyst:
        pairs = analyst.scalar(text("SELECT count(*) / 2 FROM near_duplicates"))
    assert pairs == pytest.approx(CLIPS / 200, rel=0.2)
    again = filled_database(postgres, f"clips_{CLIPS}", corpus_of(CLIPS))
    assert again is None  # what is filled is not filled again
    report(measured, measured, 1.0)
    assert capsys.readouterr().out.count("\n") > len(questions)
    assert figures(measured)["clips"] == CLIPS


def test_the_views_of_the_first_release_are_asked_of_the_same_rows(postgres: EmbeddedServer) -> None:
    corpus = corpus_of(600)
    filled_database(postgres, "first_views", corpus)
    clips = _clips_by_label(postgres)
    asked = ask_first_views(postgres, "first_views", corpus, ONCE)
    assert [one.question for one in asked] == QUESTIONS
    assert _clips_by_label(postgres) == clips


def _clips_by_label(postgres: EmbeddedServer) -> dict[str, int]:
    with create_engine(postgres.url("analyst", "first_views"), poolclass=NullPool).connect() as analyst:
        return {label: clips for label, clips, _ in analyst.execute(text(QUESTIONS[0].sql))}
