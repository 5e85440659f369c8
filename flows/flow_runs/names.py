"""Names of flow runs: what they do, for which day, and whether they are a backfill, repeat or dry run."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from prefect.runtime import flow_run

from db.engine import session_scope
from db.library_names import split_library_name
from db.runs import is_repeat
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.days import DAY
from flows.pipeline.runs.partition import Partition, partition_of
from flows.pipeline.runtime.resources import shared_runtime
from flows.pipeline.storage import StorageError


def named(template: str, *, tells_nights_apart: bool = False) -> Callable[[], str]:
    """Return a function that names a flow run after its parameters, with the day and folder they stand for.

    If nights are told apart, the name says backfill for one that another run started, and repeat for a day
    that was done before.
    """

    def name() -> str:
        values = dict(flow_run.parameters)
        partition = _partition(values)
        if partition:
            values |= {"prefix": _short(partition, values), "day": partition.day or "any day"}
        elif "prefix" in values:
            values["prefix"] = str(values["prefix"]).replace(DAY, "*")
        kind = _kind(values, partition) if tells_nights_apart else ""
        dry = "dry run: " if values.get("dry_run") else ""
        now = f"{flow_run.scheduled_start_time or datetime.now(UTC):%Y-%m-%d %H:%M}"
        return dry + kind + template.format_map(values | {"now": now})

    return name


def _partition(values: Mapping[str, Any]) -> Partition | None:
    """Return the partition of a prefix and a day, or None if they are wrong: the flow itself reports that."""
    with suppress(KeyError, ValueError, StorageError):
        due = flow_run.scheduled_start_time
        return partition_of(values["prefix"], values.get("day", "any"), values.get("timezone", "UTC"), due)
    return None


def _short(partition: Partition, values: Mapping[str, Any]) -> str:
    return str(values["prefix"]).replace(DAY, str(partition.day))


def _kind(values: Mapping[str, Any], partition: Partition | None) -> str:
    if flow_run.parent_flow_run_id:
        return "backfill: "
    # a database that is away is for the flow to report
    with suppress(Exception):
        if partition and _is_repeat(values, partition):
            return "repeat: "
    return ""


def _is_repeat(values: Mapping[str, Any], partition: Partition) -> bool:
    library, _ = split_library_name(values["library"])
    key = f"{flow_run.flow_name} {partition.name}"
    with session_scope(shared_runtime(Settings()).engine) as session:
        return is_repeat(session, flow_run.flow_name, key, library, flow_run.id)
