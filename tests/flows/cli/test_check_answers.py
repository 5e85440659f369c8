"""The command that compares the kept current answers with their definition."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import text

from db.counted_days import count_marked_days
from db.engine import make_engine, session_scope
from db.predictions import save_predictions
from flows.cli.main import wordwave
from tests.db.rows import make_library, make_llm, make_run, make_tokenized_clips, prediction
from tests.fixtures_postgres import Database


def test_kept_answers_that_somebody_changed_are_found_with_a_remedy(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", database.url("writer"))
    monkeypatch.setenv("WORDWAVE_HOME", str(tmp_path))
    writer = make_engine(database.url("writer"))
    with session_scope(writer) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library = make_library(session, codec_id)
        save_predictions(session, make_run(session), [prediction("a.wav", library, codec_id, None)])
    writer.dispose()
    assert _check().exit_code == 0
    owner = make_engine(database.url("owner"))
    with session_scope(owner) as session:
        session.execute(text("UPDATE current_answers SET label = 'bird'"))
    changed = _check()
    assert changed.exit_code == 1
    assert "2 current answers differ" in changed.output
    with session_scope(owner) as session:
        session.execute(text("SELECT refresh_current_answers_of(array_agg(id)) FROM demonstration_sets"))
    assert _check().exit_code == 0
    assert count_marked_days(owner) == 1
    with session_scope(owner) as session:
        session.execute(text("UPDATE label_counts SET clips = clips + 1"))
    assert "2 counts of labels differ" in _check().output
    with session_scope(owner) as session:
        session.execute(text("INSERT INTO days_to_count (day) SELECT DISTINCT day FROM clips"))
    owner.dispose()
    assert _check().exit_code == 0


def test_a_counted_agreement_that_somebody_changed_is_found_with_a_remedy(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", database.url("writer"))
    monkeypatch.setenv("WORDWAVE_HOME", str(tmp_path))
    owner = make_engine(database.url("owner"))
    with session_scope(owner) as session:
        codec_id = make_tokenized_clips(session, "a.wav")
        library, run = make_library(session, codec_id), make_run(session)
        for llm_id in (None, make_llm(session)):
            save_predictions(session, run, [prediction("a.wav", library, codec_id, llm_id)])
    assert count_marked_days(owner) == 1
    assert _check().exit_code == 0
    with session_scope(owner) as session:
        session.execute(text("UPDATE agreement_counts SET clips = clips + 1"))
    changed = _check()
    assert changed.exit_code == 1
    assert "2 counts of agreement differ" in changed.output
    assert "days_to_count" in changed.output
    with session_scope(owner) as session:
        session.execute(text("INSERT INTO days_to_count (day) SELECT DISTINCT day FROM clips"))
    owner.dispose()
    assert _check().exit_code == 0


def _check() -> Result:
    return CliRunner().invoke(wordwave, ["check-answers"])
