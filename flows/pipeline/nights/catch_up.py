"""Earlier days of a place that a night makes up for."""

from datetime import date

from db.engine import session_scope
from db.library_names import split_library_name
from db.run_history import unfinished_days
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runtime.resources import Runtime


def days_to_make_up(
    runtime: Runtime, kind: str, partition: Partition, library: str, most_days: int
) -> list[date]:
    """Return the days of a series of nights that no run completed. A night without a day has none."""
    if partition.day is None:
        return []
    name, _ = split_library_name(library)
    with session_scope(runtime.engine) as session:
        return unfinished_days(session, kind, partition.prefix, name, partition.day, most_days)
