"""The meaning of Postgres errors for a run: whether to retry, and what to do."""

from dataclasses import dataclass

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

ADDRESS = "check WORDWAVE_DATABASE_URL"
MIGRATE = "run wordwave migrate"


@dataclass(frozen=True)
class ErrorMeaning:
    """The finding, the remedy, and whether the error can pass by itself."""

    finding: str
    remedy: str
    can_pass: bool = False


NO_ANSWER = ErrorMeaning("the database does not answer", ADDRESS, can_pass=True)
RESTARTING = ErrorMeaning("the database is starting or stopping", "wait until it is up again", can_pass=True)
CROWDED = ErrorMeaning(
    "the database has no connection left",
    "raise max_connections or the role's limit, or run fewer workers",
    can_pass=True,
)
CONFLICT = ErrorMeaning("the database ended a transaction for another one", "run again", can_pass=True)
REFUSED = ErrorMeaning("the database refuses this user or password", "correct those of WORDWAVE_DATABASE_URL")
NO_DATABASE = ErrorMeaning(
    "there is no such database", "create it, or correct the name at the end of WORDWAVE_DATABASE_URL"
)
OLD_SCHEMA = ErrorMeaning("the database is not at this version's schema", MIGRATE)
DAMAGED = ErrorMeaning("the database cannot read or write its own files", "ask its administrator")

UNAVAILABLE = (NO_ANSWER, RESTARTING, CROWDED)
"""Errors that end when the server is back, for any statement."""

MEANINGS = {
    "08": NO_ANSWER,
    "25P03": ErrorMeaning("the database ended an idle transaction", "run again", can_pass=True),
    "25006": ErrorMeaning(
        "the database is read-only",
        "let WORDWAVE_DATABASE_URL name the primary server",
    ),
    "22021": (
        ENCODING := ErrorMeaning(
            "a text does not fit the database's encoding",
            "use a database that was created with ENCODING 'UTF8'",
        )
    ),
    "22P05": ENCODING,
    "26000": ErrorMeaning(
        "the connection pooler mixes sessions", "use session pooling (pgbouncer: pool_mode=session)"
    ),
    "28": REFUSED,
    "3D000": NO_DATABASE,
    "40": CONFLICT,
    "42501": ErrorMeaning(
        "the database role lacks a privilege",
        f"connect as the writer that the bootstrap SQL made, and {MIGRATE} as the owner",
    ),
    "3F000": OLD_SCHEMA,
    "42P01": OLD_SCHEMA,
    "42703": OLD_SCHEMA,
    "42704": OLD_SCHEMA,
    "42883": OLD_SCHEMA,
    "53100": ErrorMeaning("the database's disk is full", "free space there, then run again"),
    "53200": ErrorMeaning(
        "the database is out of memory", "give it more, or run fewer workers", can_pass=True
    ),
    "53300": CROWDED,
    "53400": ErrorMeaning("a limit that is set for this database role is reached", "ask its administrator"),
    "54": ErrorMeaning("a value is larger than the database can hold", "shorten the name or text"),
    "55P03": ErrorMeaning("the database waited too long for a lock", "run again", can_pass=True),
    "57P04": NO_DATABASE,
    "57P": RESTARTING,
    "57014": ErrorMeaning(
        "the database canceled a statement, which may take 60 seconds",
        "look for what slows it down (locks, load, missing ANALYZE), then run again",
    ),
    "58": DAMAGED,
    "XX001": DAMAGED,
    "XX002": DAMAGED,
}
"""By SQLSTATE, or by its class or beginning; the longest match counts."""

CONNECTION_ERRORS = {
    "unsupported startup parameter": ErrorMeaning(
        "a connection pooler refuses the session's settings",
        "connect to Postgres itself, or set pgbouncer's ignore_startup_parameters=options, pool_mode=session",
    ),
    "too many clients": CROWDED,
    "too many connections": CROWDED,
    "connection slots are reserved": CROWDED,
    "password authentication failed": REFUSED,
    "no password supplied": REFUSED,
    "no pg_hba.conf entry": REFUSED,
    "is not permitted to log in": REFUSED,
    "authentication failed": REFUSED,
    'role "': REFUSED,
    "permission denied for database": REFUSED,
    'database "': NO_DATABASE,
    "the database system is": RESTARTING,
}
"""A refused connection has no SQLSTATE, only text. The first match counts."""


def meaning(error: DBAPIError) -> ErrorMeaning | None:
    """Return the meaning of an error, or None for one that needs a change of the code."""
    if code := getattr(error.orig, "pgcode", None):
        known = (MEANINGS.get(code[:length]) for length in range(len(code), 1, -1))
        return next(filter(None, known), None)
    if error.connection_invalidated or isinstance(error, OperationalError | InterfaceError):
        text = str(error.orig)
        return next((found for part, found in CONNECTION_ERRORS.items() if part in text), NO_ANSWER)
    return None


def can_pass(error: BaseException) -> bool:
    """Return whether the error is of a database that may answer on another try."""
    found = meaning(error) if isinstance(error, DBAPIError) else None
    return found is not None and found.can_pass
