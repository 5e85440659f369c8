"""Waits until the database of WORDWAVE_DATABASE_URL has the schema that this version needs."""

import os
import sys
import time

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from db.engine import database_url
from migrations.upgrade import head

SECONDS = 5.0


def shortage(url: str) -> str | None:
    """Return why the database cannot be used yet, or None if it can."""
    try:
        with create_engine(database_url(url), poolclass=NullPool).connect() as connection:
            revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
    except SQLAlchemyError as error:
        return str(getattr(error, "orig", error)).strip()
    return None if revision == head() else f"the schema is at {revision}, this version needs {head()}"


if __name__ == "__main__":
    told = None
    while reason := shortage(os.environ["WORDWAVE_DATABASE_URL"]):
        if reason != told:
            sys.stderr.write(f"waiting: {reason}\n")
        told = reason
        time.sleep(SECONDS)
