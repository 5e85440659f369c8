"""Any spelling of a Postgres address works, statements end, and only a whole block is kept."""

from contextlib import suppress

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import OperationalError

from db.engine import database_url as normalized
from db.engine import make_engine, session_scope
from db.model_registry import ensure_llm
from db.models import Llm


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg2", "postgresql+psycopg"])
def test_every_spelling_becomes_the_driver_we_ship(scheme: str) -> None:
    assert normalized(f"{scheme}://u:p%40ss@h:5/d?sslmode=require") == (
        "postgresql+psycopg2://u:p%40ss@h:5/d?sslmode=require"
    )


def test_another_database_is_refused_without_its_password() -> None:
    with pytest.raises(ValueError, match="mysql") as caught:
        normalized("mysql://user:secret@host/name")
    assert "secret" not in str(caught.value)


def test_a_block_is_kept_whole_or_not_at_all(database_url: str) -> None:
    engine = make_engine(database_url)
    with session_scope(engine) as session:
        ensure_llm(session, "kept", "a")
    with suppress(KeyError), session_scope(engine) as session:
        ensure_llm(session, "lost", "a")
        raise KeyError
    with session_scope(engine) as session:
        assert session.scalars(select(Llm.fingerprint)).all() == ["kept"]
    engine.dispose()


def test_statements_end_and_connections_say_whose_they_are(database_url: str) -> None:
    engine = make_engine(database_url, "tokenize-clips")
    with session_scope(engine) as session:
        assert session.scalar(text("SHOW statement_timeout")) == "1min"
        assert session.scalar(text("SHOW application_name")) == "tokenize-clips"
        session.execute(text("SET statement_timeout = 1"))
        with pytest.raises(OperationalError, match="statement timeout"):
            session.execute(select(func.pg_sleep(1)))
        session.rollback()
    engine.dispose()
