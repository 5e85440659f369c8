"""The address of the analysts' database, and how their usual clients are told about it.

The password is in a file in the form of libpq's passfile, which only its owner can read. It is never printed.
"""

import os
import re
import shlex
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import make_url

from db.private import private_folder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.database import analyst_url
from flows.server.analysts import port as own_port

DEFAULT_PORT = 5432


@dataclass(frozen=True)
class AnalystAddress:
    """Where analysts connect. `host` is a folder if the server has a socket only."""

    host: str
    port: int
    database: str
    user: str
    password_file: Path

    @property
    def is_socket(self) -> bool:
        return self.host.startswith("/")

    @property
    def url(self) -> str:
        """The address as libpq and SQLAlchemy take it, without the password."""
        user, database = quote(self.user, safe=""), quote(self.database, safe="")
        passfile = f"passfile={quote(str(self.password_file))}"
        if self.is_socket:
            return f"postgresql://{user}@/{database}?host={quote(self.host)}&{passfile}"
        return f"postgresql://{user}@{self.host}:{self.port}/{database}?{passfile}"

    @property
    def keywords(self) -> str:
        """The address as libpq and DuckDB take it."""
        values = {"host": self.host, "port": str(self.port), "dbname": self.database, "user": self.user}
        values["passfile"] = str(self.password_file)
        return " ".join(f"{name}={_value(value)}" for name, value in values.items())


def analyst_address(settings: Settings) -> AnalystAddress:
    """Return the address, and write the password to its file. Starts the embedded server if it is used."""
    url = make_url(analyst_url(settings))
    host, port = url.host or str(url.query.get("host", "localhost")), url.port or DEFAULT_PORT
    if settings.analyst_database_url is None and (served := own_port.open_port(settings.home)):
        host, port = own_port.HOST, served
    address = AnalystAddress(
        host, port, url.database or "", url.username or "", settings.home / "analyst.pgpass"
    )
    _write_password(address, url.password or "")
    return address


def _value(value: str) -> str:
    """Return a value of libpq's keywords, in quotes if it is not only letters, digits and the like."""
    if re.fullmatch(r"[^\s'\\]+", value):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _write_password(address: AnalystAddress, password: str) -> None:
    private_folder(address.password_file.parent)
    fields = (
        one.replace("\\", "\\\\").replace(":", "\\:") for one in (address.database, address.user, password)
    )
    descriptor, fresh = tempfile.mkstemp(dir=address.password_file.parent)  # readable by its owner alone
    with os.fdopen(descriptor, "w") as file:
        file.write(":".join(("*", "*", *fields)) + "\n")
    Path(fresh).rename(address.password_file)


def address_lines(address: AnalystAddress) -> Iterator[str]:
    """Yield the address, and what to paste into clients."""
    yield f"Address   {address.url}"
    yield f"Password  what follows the last colon of {address.password_file}; the address names the file"
    yield f"psql      psql {shlex.quote(address.url)}"
    yield f'pandas    pandas.read_sql_table("labels", "{address.url}", schema="analytics")'
    yield "DuckDB    INSTALL postgres; LOAD postgres;"
    keywords = address.keywords.replace("'", "''")
    yield f"          ATTACH '{keywords}' AS wordwave (TYPE postgres, SCHEMA 'analytics', READ_ONLY);"
    if address.is_socket:
        yield "DBeaver and Metabase need a port: start wordwave up --analyst-port 5433, then ask again"
        return
    where = f"host {address.host}, port {address.port}, database {address.database}, user {address.user}"
    yield f"DBeaver   a PostgreSQL connection: {where}, the password of the file; schema analytics"
    yield f"Metabase  a PostgreSQL database: {where}, the password of the file; only these schemas: analytics"
