"""How alembic reaches the database: one migration at a time, and never behind a long lock.

The address is the one that migrations.upgrade passes on, or WORDWAVE_OWNER_DATABASE_URL when alembic is run
by hand. Processes that migrate at once take turns.
"""

import os

from alembic import context
from sqlalchemy import NullPool, create_engine, event, text

from db import models  # noqa: F401 (the tables register themselves)
from db.base import Base
from db.engine import CONNECT_TIMEOUT_SECONDS, database_url, require_utf8

TURN = 0x776F7264  # "word": the advisory lock that migrations of this project share


def _address() -> str:
    address = context.config.attributes.get("url") or os.environ.get("WORDWAVE_OWNER_DATABASE_URL")
    if not address:
        raise RuntimeError("no database to migrate: set WORDWAVE_OWNER_DATABASE_URL")
    return database_url(address)


def _run_migrations() -> None:
    engine = create_engine(
        _address(), poolclass=NullPool, connect_args={"connect_timeout": CONNECT_TIMEOUT_SECONDS}
    )
    event.listen(engine, "connect", require_utf8)
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:turn)"), {"turn": TURN})
        # A migration fails if it cannot lock its table soon, so that readers do not queue for it.
        connection.execute(text("SET lock_timeout = '5s'"))
        connection.commit()
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            transaction_per_migration=True,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    raise RuntimeError("these migrations ask the database for its roles: run them without --sql")
_run_migrations()
