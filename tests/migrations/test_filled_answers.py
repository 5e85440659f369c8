"""The current answers of an old database are filled in batches, also when the filling was cut off."""

from collections.abc import Iterator
from random import Random

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, NullPool, create_engine, text
from sqlalchemy.orm import Session

from db.current_answers import count_differences
from migrations.upgrade import alembic_config, downgrade, upgrade
from tests.fixtures_postgres import Database
from tests.migrations.test_current_answers import _write_history

BEFORE, FILLED = "20261130_labeler_choices", "20261130_filled_answers"


@pytest.fixture
def owner(database: Database) -> Iterator[Connection]:
    engine = create_engine(database.url("owner"), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        yield connection


def counts(owner: Connection) -> tuple[int, int]:
    """Return the number of current answers, and how many differ from the definition."""
    rows = owner.execute(text("SELECT count(*) FROM current_answers")).scalar_one()
    return rows, count_differences(Session(owner))


def test_an_old_database_gets_its_current_answers(database: Database, owner: Connection) -> None:
    downgrade(database.url("owner"), BEFORE)
    _write_history(owner, Random(3))
    upgrade(database.url("owner"))
    rows, differences = counts(owner)
    assert rows > 5
    assert differences == 0


def test_a_filling_that_was_cut_off_goes_on_where_it_was(
    database: Database, owner: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_history(owner, Random(4))
    expected = counts(owner)
    downgrade(database.url("owner"), "20261130_kept_words")
    owner.execute(text("TRUNCATE current_answers"))
    revision = ScriptDirectory.from_config(alembic_config("")).get_revision(FILLED)
    assert revision is not None
    migration = revision.module
    monkeypatch.setattr(migration, "BATCH", 2)
    done = migration.missing(owner, b"")
    migration.fill(owner, done)
    assert len(done) == 2
    assert not set(done) & set(migration.missing(owner, b""))
    upgrade(database.url("owner"))
    assert counts(owner) == expected
