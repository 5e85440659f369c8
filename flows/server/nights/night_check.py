"""Checks of a place that is to be labeled every night, before its first night fails."""

from collections.abc import Mapping
from typing import Any

from flows.deployments import NIGHTLY
from flows.flow_runs.form_flow import check_values
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.runs.days import DAY
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.allow_list import Access


class NothingYet(LookupError):
    """The folder of the days has no clips: it is new, or its name is wrong."""


def find_obstacle(settings: Settings, values: Mapping[str, Any]) -> Exception | None:
    """Return the error that a night with these values would fail with, or None."""
    runtime = Runtime(settings)
    try:
        check_night(runtime, values)
    except Exception as error:  # whatever it is, it would end the night
        return error
    finally:
        runtime.close()
    return None


def check_night(runtime: Runtime, values: Mapping[str, Any]) -> None:
    """Check the values, the allow-list, the place and the libraries of a night; raises what a night would."""
    checked = check_values(NIGHTLY.load(), values)
    partition = partition_of(checked["prefix"], checked["day"], checked["timezone"])
    Access.of(runtime.settings).root(partition.place)
    for library in filter(None, (checked["library"], checked["canary_library"])):
        LabelingSetup(runtime, LabelRequest(library))
    _check_place(runtime, checked["prefix"])


def _check_place(runtime: Runtime, prefix: str) -> None:
    """Look for a clip in the folder in which the days are; that of a day may come later."""
    before, day, _ = prefix.partition(DAY)
    folder = before.rpartition("/")[0] if day else prefix
    if next(runtime.storage(folder).list(folder), None) is None:
        raise NothingYet(f"{folder} has no clips yet")
