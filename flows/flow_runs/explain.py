"""Errors as one line for people, with the remedy. A bug keeps its traceback."""

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from core.errors import CoreError
from db.embedded.server import EmbeddedServerError
from db.libraries import LibraryNotFound
from db.listing import MostClipsLost
from db.locks import PartitionBusy
from db.runs import RunLost, RunNotFound
from db.sqlstate import OLD_SCHEMA, meaning
from flows.pipeline.configuration.settings import ENV_PREFIX
from flows.pipeline.labeling.canary import CanaryFailed
from flows.pipeline.maintenance.forgetting.check import NotForgotten
from flows.pipeline.nights.backfill import BackfillFailed
from flows.pipeline.nights.jobs import ShardsFailed
from flows.pipeline.nights.plan import NotApproved
from flows.pipeline.runs.halving import DeviceFailed
from flows.pipeline.runs.verdict import Distrusted
from flows.pipeline.runtime.otlp import NoTelemetry
from flows.pipeline.storage import StorageError

EXPECTED_ERRORS = (
    CoreError,
    NoTelemetry,
    StorageError,
    EmbeddedServerError,
    LibraryNotFound,
    MostClipsLost,
    PartitionBusy,
    RunLost,
    RunNotFound,
    BackfillFailed,
    CanaryFailed,
    DeviceFailed,
    Distrusted,
    NotApproved,
    NotForgotten,
    ShardsFailed,
    ValueError,
    OSError,
)


def explain(error: BaseException) -> str | None:
    """Return the line to show, or None if only a traceback helps."""
    if isinstance(error, ValidationError):
        return _settings(error)
    if isinstance(error, DBAPIError):
        return _database(error)
    if isinstance(error, BotoCoreError | ClientError):
        return f"the object store: {error}; check its address and credentials"
    return str(error) if isinstance(error, EXPECTED_ERRORS) else None


def _database(error: DBAPIError) -> str | None:
    found = meaning(error)
    if found is None:
        return None
    if found is OLD_SCHEMA:
        return f"{found.finding}: {found.remedy}"
    return f"{found.finding}: {_first_line(error.orig)}; {found.remedy}"


def _settings(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False)[0]
    field = ".".join(map(str, first["loc"]))
    return f"{ENV_PREFIX}{field.upper()}: {first['msg'].removeprefix('Value error, ')}"


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0]
