"""Migrations lead from nothing to the models and back, and refuse what would leave a half-made database."""

from collections.abc import Iterator
from dataclasses import replace
from uuid import uuid4

import pytest
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.pool import NullPool

from db.base import Base
from db.embedded.server import EmbeddedServer
from db.engine import make_engine, session_scope
from db.generated import save_audio
from db.libraries import LibraryDemonstration, get_library, import_library, library_names
from db.tokens import save_tokens
from migrations.upgrade import alembic_config, check, downgrade, upgrade
from tests.db.rows import (
    audio,
    make_codec,
    make_library,
    make_llm,
    make_run,
    make_tokenized_clips,
    sha256,
    tokenized,
)
from tests.fixtures_postgres import Database, administer, make_database


@pytest.fixture
def empty(postgres: EmbeddedServer) -> Iterator[Database]:
    name = f"empty_{uuid4().hex[:12]}"
    yield make_database(postgres, name)
    administer(postgres, f"DROP DATABASE {name} WITH (FORCE)")


def _tables(database: Database) -> set[str]:
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    return set(inspect(engine).get_table_names())


def test_up_down_and_up_again_ends_at_the_models(empty: Database) -> None:
    upgrade(empty.url("owner"))
    assert _tables(empty) == set(Base.metadata.tables) | {"alembic_version"}
    downgrade(empty.url("owner"), "base")
    assert _tables(empty) == {"alembic_version"}
    upgrade(empty.url("owner"))
    check(empty.url("owner"))


def test_going_back_loses_what_was_generated_and_keeps_the_libraries_of_labels(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav", "b.wav")
        library = make_library(session, codec_id)
        pair = LibraryDemonstration(sha256("a.wav"), None, "file:///a.wav", sha256("b.wav"), "file:///b.wav")
        import_library(session, "street", "denoise", None, [pair])
        save_audio(session, make_run(session), [audio("one", library, codec_id, make_llm(session))])
    downgrade(database.url("owner"), "20261124_run_summaries")
    upgrade(database.url("owner"))
    check(database.url("owner"))
    with session_scope(engine) as session:
        assert library_names(session) == ["animals"]
        assert get_library(session, "animals") == library
        assert session.scalar(text("SELECT count(*) FROM generated_audio")) == 0
    engine.dispose()


def test_check_fails_for_a_database_that_is_behind(empty: Database) -> None:
    with pytest.raises(CommandError, match="not up to date"):
        check(empty.url("owner"))


def test_there_is_one_head() -> None:
    assert len(ScriptDirectory.from_config(alembic_config("unused")).get_heads()) == 1


def test_every_named_constraint_and_index_of_the_models_is_in_the_database(database: Database) -> None:
    """Alembic's own comparison leaves CHECKs, conditions of indexes and names out."""
    wanted = set()
    for table in Base.metadata.tables.values():
        wanted |= {str(constraint.name) for constraint in table.constraints}
        wanted |= {str(index.name) for index in table.indexes}
    with create_engine(database.url("owner"), poolclass=NullPool).connect() as connection:
        names = connection.scalars(
            text(
                "SELECT conname FROM pg_constraint"
                " WHERE connamespace = 'public'::regnamespace AND contype <> 'n'"
                " UNION SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"
            )
        )
        assert set(names) - {"alembic_version_pkc"} == wanted


def test_checks_and_partial_indexes_say_what_the_models_say(database: Database) -> None:
    """Postgres spells both alike: what the models make in a second schema is compared."""
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    with engine.connect() as connection, connection.begin() as transaction:
        connection.execute(text("CREATE SCHEMA models"))
        connection.execute(text("SET LOCAL search_path = models, public"))
        Base.metadata.create_all(connection, checkfirst=False)
        definitions = text(
            "SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = CAST(:schema AS regnamespace)"
            " UNION ALL SELECT indexname, replace(indexdef, CAST(:schema AS text) || '.', '') FROM pg_indexes"
            " WHERE schemaname = :schema AND tablename <> 'alembic_version' ORDER BY 1"
        )
        migrated = connection.execute(definitions, {"schema": "public"}).all()
        modeled = connection.execute(definitions, {"schema": "models"}).all()
        transaction.rollback()
    assert modeled == migrated


def test_migrating_without_the_roles_says_who_has_to_do_what(empty: Database) -> None:
    server = empty.server
    administer(server, "ALTER ROLE wordwave_analyst RENAME TO away")
    try:
        with pytest.raises(RuntimeError, match=r"no role wordwave_analyst.*db/bootstrap\.sql"):
            upgrade(empty.url("owner"))
    finally:
        administer(server, "ALTER ROLE away RENAME TO wordwave_analyst")
    assert _tables(empty) <= {"alembic_version"}


def test_every_column_and_view_analysts_read_is_documented(database: Database) -> None:
    """Columns whose name says all (uri, label ...) may go without."""
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        undocumented = connection.scalars(
            text(
                "SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace"
                " AND relkind = 'v' AND obj_description(oid) IS NULL"
            )
        )
        assert undocumented.all() == []


def test_the_command_line_finds_the_migrations(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from alembic.config import main

    monkeypatch.setenv("WORDWAVE_OWNER_DATABASE_URL", database.url("owner"))
    main(["check"])


def test_of_libraries_from_before_the_newest_version_stays_in_use(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as session:
        codec_id = make_tokenized_clips(session, "a.wav", "b.wav")
        make_library(session, codec_id)
        only = [LibraryDemonstration(sha256("a.wav"), "dog", "file:///a.wav")]
        newest = import_library(session, "animals", "label", None, only)
    downgrade(database.url("owner"), "20261129_run_figures")
    upgrade(database.url("owner"))
    with session_scope(engine) as session:
        assert get_library(session, "animals") == newest
    engine.dispose()


def test_latents_that_are_not_finite_stay_and_no_new_one_is_taken(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    old = replace(tokenized(None, "old"), latent=([float("inf")], [float("nan")]))
    with session_scope(engine) as session:
        codec_id, run_id = make_codec(session), make_run(session)
    downgrade(database.url("owner"), "20261129_run_requests")
    with session_scope(engine) as session:
        save_tokens(session, codec_id, run_id, [old])
    upgrade(database.url("owner"))
    with pytest.raises(IntegrityError, match="finite"), session_scope(engine) as session:
        save_tokens(session, codec_id, run_id, [replace(old, sha256=sha256("new"))])
    with session_scope(engine) as session:
        assert session.scalar(text("SELECT count(*) FROM pooled_latents")) == 1
    engine.dispose()
