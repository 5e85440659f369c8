"""Migrates a database from Python, from a checkout or an installed wheel alike."""

import sys
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text


def alembic_config(url: str) -> Config:
    """Return alembic's settings for the database at this owner's address; its messages go to stderr."""
    config = Config(stdout=sys.stderr, attributes={"url": url})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return config


def upgrade(url: str, revision: str = "head") -> None:
    """Upgrade the database to a revision, if needed."""
    command.upgrade(alembic_config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to a revision, `base` for an empty one. Data of dropped tables is gone."""
    command.downgrade(alembic_config(url), revision)


def check(url: str) -> None:
    """Raise alembic's CommandError if the database is behind, or its tables differ from the models."""
    command.check(alembic_config(url))


def wrong_schema(connection: Connection) -> str | None:
    """Return what is wrong with a database's schema in a sentence, or None if it is the one needed here."""
    revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return None if revision == head() else f"the schema is at {revision}, this version needs {head()}"


def head() -> str:
    """Return the newest revision that this version knows."""
    revision = ScriptDirectory.from_config(alembic_config("")).get_current_head()
    assert revision is not None
    return revision
