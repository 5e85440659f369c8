"""The Python runner of bootstrap.sql, which makes the roles, and the database if needed."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

from psycopg2.extensions import QuotedString, encrypt_password
from sqlalchemy import Connection, NullPool, create_engine, make_url, text

from db.engine import database_url

Role = Literal["owner", "writer", "analyst"]
ROLES: tuple[Role, ...] = get_args(Role)
BOOTSTRAP_SQL = Path(__file__).with_name("bootstrap.sql")


def role_name(role: Role) -> str:
    """Return the role's name in Postgres."""
    return f"wordwave_{role}"


def bootstrap(admin_url: str, database: str, passwords: Mapping[Role, str]) -> None:
    """Make the database unless it exists, the roles, and their passwords; safe to repeat.

    `admin_url` names an administrator and any database of the same server.
    """
    with _autocommit(admin_url) as connection:
        known = connection.scalar(
            text("SELECT true FROM pg_database WHERE datname = :name"), {"name": database}
        )
        if not known:
            quoted = connection.dialect.identifier_preparer.quote(database)
            connection.exec_driver_sql(f"CREATE DATABASE {quoted}")
    inside = make_url(database_url(admin_url)).set(database=database)
    with _autocommit(inside.render_as_string(hide_password=False)) as connection:
        statements = _with_passwords(BOOTSTRAP_SQL.read_text(), connection, passwords)
        connection.execution_options(no_parameters=True).exec_driver_sql(statements)


def _autocommit(url: str) -> Connection:
    engine = create_engine(database_url(url), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    return engine.connect()


def _with_passwords(statements: str, connection: Connection, passwords: Mapping[Role, str]) -> str:
    """Fill psql's :'role_password' in with SCRAM verifiers, so that the server's log has no password."""

    def verifier(match: re.Match[str]) -> str:
        role: Role = match[1]  # type: ignore[assignment]
        hashed = encrypt_password(
            passwords[role],
            role_name(role),
            scope=connection.connection.driver_connection,
            algorithm="scram-sha-256",
        )
        return str(QuotedString(hashed))

    return re.sub(r":'(\w+)_password'", verifier, statements)
