"""Waits until the database of WORDWAVE_DATABASE_URL has the schema that this version needs."""

import os
import sys
import time

from sqlalchemy import NullPool, create_engine
from sqlalchemy.exc import SQLAlchemyError

from db.engine import database_url
from migrations.upgrade import wrong_schema

SECONDS = 5.0


def problem(url: str) -> str | None:
    """Return why the database cannot be used yet, or None if it can."""
    try:
        with create_engine(database_url(url), poolclass=NullPool).connect() as connection:
            return wrong_schema(connection)
    except SQLAlchemyError as error:
        return str(getattr(error, "orig", error)).strip()


if __name__ == "__main__":
    told = None
    while reason := problem(os.environ["WORDWAVE_DATABASE_URL"]):
        if reason != told:
            sys.stderr.write(f"waiting: {reason}\n")
        told = reason
        time.sleep(SECONDS)
