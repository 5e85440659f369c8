"""What went wrong, in one line for people, with what to do; a bug stays a traceback."""

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from core.errors import CoreError
from db.embedded import EmbeddedServerError
from db.library import LibraryNotFound
from db.locks import PartitionBusy
from db.runs import RunNotFound
from flows.settings import ENV_PREFIX
from flows.stages.backfill import BackfillFailed
from flows.stages.canary import CanaryFailed
from flows.storage import StorageError

ON_PURPOSE = (
    CoreError,
    StorageError,
    EmbeddedServerError,
    LibraryNotFound,
    PartitionBusy,
    RunNotFound,
    BackfillFailed,
    CanaryFailed,
    ValueError,
    OSError,
)
UNDEFINED_TABLE = "42P01"


def explain(error: BaseException) -> str | None:
    """The line to show, or None where only a traceback helps."""
    if isinstance(error, ValidationError):
        return _settings(error)
    if isinstance(error, OperationalError):
        return f"the database does not answer: {_first_line(error.orig)}; check WORDWAVE_DATABASE_URL"
    if isinstance(error, ProgrammingError) and getattr(error.orig, "pgcode", None) == UNDEFINED_TABLE:
        return "the database is not at this version's schema: run wordwave migrate"
    if isinstance(error, DBAPIError):
        return None
    if isinstance(error, BotoCoreError | ClientError):
        return f"the object store: {error}; check its address and credentials"
    return str(error) if isinstance(error, ON_PURPOSE) else None


def _settings(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"{ENV_PREFIX}{field.upper()}: {first['msg']}"


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
