"""Logs with one JSON object per line, the ids of run and batch, and masked secrets."""

import json
import logging
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from flows.pipeline.configuration.credentials import mask_credentials
from flows.pipeline.runtime.telemetry import batch_in_hand

SWITCH = "WORDWAVE_LOG_FORMAT"
PREFECT_FIELDS = ("flow_run_id", "flow_run_name", "task_run_id", "task_run_name")
"""Fields that Prefect adds to the records of a run."""
PREFECT_ENVIRONMENT = {
    "PREFECT_LOGGING_FORMATTERS_JSON_CLASS": "flows.pipeline.runtime.json_logs.JsonFormatter",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_FORMATTER": "json",
    "PREFECT_LOGGING_HANDLERS_DEBUG_FORMATTER": "json",
    "PREFECT_LOGGING_COLORS": "false",
}
"""Environment that makes Prefect, its server and runs log JSON. docker/entrypoint.sh sets the same."""
_SECRETS = ("PASSWORD", "SECRET", "AUTH_STRING", "API_KEY", "SESSION_TOKEN", "DATABASE_URL", "CONNECTION_URL")
_MIN_SECRET_LENGTH = 6


def is_asked(environment: Mapping[str, str] = os.environ) -> bool:
    """Return whether logs are JSON. Invalid values are refused with the other settings."""
    return environment.get(SWITCH) == "json"


class JsonFormatter(logging.Formatter):
    """A formatter for any handler, with the arguments that logging.config passes. It ignores them."""

    def __init__(self, fmt: str | None = None, datefmt: str | None = None, style: Literal["%"] = "%") -> None:
        super().__init__()
        self._secrets = secrets_of(os.environ)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of ASCII."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._masked(record.getMessage()),
        }
        line |= {name: str(found) for name in PREFECT_FIELDS if (found := getattr(record, name, None))}
        line |= batch_in_hand()
        if record.exc_info:
            line["traceback"] = self._masked(self.formatException(record.exc_info))
        return json.dumps(line)

    def _masked(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return mask_credentials(text)


def secrets_of(environment: Mapping[str, str]) -> list[str]:
    """Return the secrets in the variables, longest first. Of an address, only the password is secret."""
    held = [value for name, value in environment.items() if any(word in name for word in _SECRETS)]
    found = {part for value in held for part in _parts(value) if len(part) >= _MIN_SECRET_LENGTH}
    return sorted(found, key=len, reverse=True)


def _parts(value: str) -> list[str]:
    if "://" not in value:
        return [value, value.partition(":")[2]]
    try:
        password = urlsplit(value).password or ""
    except ValueError:
        return [value]
    return [password, unquote(password)]
