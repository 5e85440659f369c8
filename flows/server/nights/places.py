"""Places that are labeled every night: a deployment of nightly-labeling for each.

The settings of a place are the default parameters of its deployment. Its schedules have none: Prefect
empties the parameters of a schedule that is paused in the UI. Deployments are changed in the UI, never here.
"""

import asyncio
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, time, timedelta
from hashlib import sha256
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from uuid import UUID

from flows.deployments import DEPLOYMENT_NAME, NIGHTLY, local_deployment
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.responses import DeploymentResponse
    from prefect.client.schemas.schedules import CronSchedule
    from prefect.deployments.runner import RunnerDeployment

SLUG = "nightly"
_PER_PLACE = replace(NIGHTLY, max_runs=None)
"""All places share the limit of NIGHTLY."""
_PLAIN = re.compile(r"s3://([A-Za-z0-9._-]+)/\{day\}")
_READABLE_LENGTH = 60
_DAY_SECONDS = 86400
_TIMES_OF_A_CYCLE = 15
"""Runs in which the longest pause of a schedule is seen, such as a weekend."""


@dataclass(frozen=True)
class NightlyPlace:
    """A place to label every night, with the library and the time."""

    prefix: str
    library: str
    at: time
    timezone: str

    @property
    def parameters(self) -> dict[str, Any]:
        """Return the parameters of the run, which labels the day before in the time zone.

        For a time after noon they include the time, so that no clock change moves it past midnight.
        """
        return {
            "prefix": self.prefix,
            "library": self.library,
            "day": "yesterday" if self.at.hour < 12 else f"yesterday@{self.at:%H:%M}",
            "timezone": self.timezone,
        }

    @property
    def schedule(self) -> "CronSchedule":
        """Return the schedule: every night at this time."""
        from prefect.client.schemas.schedules import CronSchedule

        return CronSchedule(cron=f"{self.at.minute} {self.at.hour} * * *", timezone=self.timezone)

    def deployment(self) -> "RunnerDeployment":
        """Return the deployment to create if the place has none."""
        return _new_place(self.parameters, self.schedule)


def deployment_name(prefix: str) -> str:
    """Return the name of a place's deployment; two places never share one."""
    place = prefix.removesuffix("/")
    if (plain := _PLAIN.fullmatch(place)) and plain[1] != DEPLOYMENT_NAME:
        return plain[1]
    readable = re.sub(r"[^A-Za-z0-9._-]+", "-", re.sub(r"^\w+://|\{day\}", "", place)).strip("-")
    digest = sha256(canonical(prefix).encode()).hexdigest()
    return f"{readable[-_READABLE_LENGTH:].lstrip('-')}-{digest[:6]}"


def read_places(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    """Return the deployments of places by name, without those of work pools, which workers serve."""
    found = _read_nightly(client)
    return [one for one in found if one.name != DEPLOYMENT_NAME and one.work_pool_name is None]


def scheduled_nights(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    """Return the deployments of nightly-labeling that have a schedule, by name, whoever serves them."""
    return [one for one in _read_nightly(client) if one.schedules]


def next_times(rule: Any, count: int) -> list[datetime]:
    """Return the next times of a schedule, as Prefect's server computes them, with clock changes."""
    from prefect.server.schemas.schedules import SCHEDULE_TYPES
    from pydantic import TypeAdapter

    theirs: Any = TypeAdapter(SCHEDULE_TYPES).validate_python(rule.model_dump())
    return list(asyncio.run(theirs.get_dates(count)))


def longest_pause(schedules: "Iterable[DeploymentSchedule]") -> timedelta:
    """Return the longest time between two runs, in whole days: 1 for every night, 3 for working days."""
    times = sorted({time for one in schedules for time in next_times(one.schedule, _TIMES_OF_A_CYCLE)})
    pauses = [(later - earlier).total_seconds() / _DAY_SECONDS for earlier, later in pairwise(times)]
    return timedelta(days=max(1, round(max(pauses, default=1))))


def _read_nightly(client: "SyncPrefectClient") -> "list[DeploymentResponse]":
    from prefect.client.schemas.filters import FlowFilter, FlowFilterName

    nightly = FlowFilter(name=FlowFilterName(any_=[NIGHTLY.flow]))
    return sorted(client.read_deployments(flow_filter=nightly), key=lambda one: one.name)


def create_missing_places(client: "SyncPrefectClient", nights: Sequence[NightlyPlace]) -> list[str]:
    """Create a deployment for each place that has none, and return notes for the user.

    A schedule of the earlier kind, with parameters of its own, is turned into a deployment first.
    """
    notes = list(_take_over(client, nights))
    known = {place.name for place in read_places(client)}
    for night in nights:
        if deployment_name(night.prefix) not in known:
            night.deployment().apply()
    return notes


def serve_places(client: "SyncPrefectClient", libraries: Sequence[str] = ()) -> "Iterator[RunnerDeployment]":
    """Yield the deployments of places as they are, for one process to serve."""
    for place in read_places(client):
        yield serve_place(place.name, libraries=libraries)


def serve_place(name: str, **new: Any) -> "RunnerDeployment":
    """Return the deployment of a place, without touching its limit, which all places share."""
    deployment = local_deployment(_PER_PLACE, name, **new)
    deployment.model_fields_set.difference_update({"concurrency_limit", "concurrency_options"})
    return deployment


def share_limit(client: "SyncPrefectClient", deployment_ids: Sequence[UUID]) -> None:
    """Let the nights of all places run one at a time: the next one waits."""
    limit = client.read_deployment_by_name(NIGHTLY.name).global_concurrency_limit
    assert limit
    for deployment_id in deployment_ids:
        client.request(
            "PATCH",
            "/deployments/{id}",
            path_params={"id": deployment_id},
            json={
                "global_concurrency_limit_id": str(limit.id),
                "concurrency_options": {"collision_strategy": "ENQUEUE"},
            },
        )


def _take_over(client: "SyncPrefectClient", nights: Sequence[NightlyPlace]) -> Iterator[str]:
    generic = client.read_deployment_by_name(NIGHTLY.name)
    for schedule in generic.schedules:
        if schedule.slug != SLUG:
            continue
        values = _values(client, generic.id, schedule) or (nights[0].parameters if nights else {})
        if not values:
            yield (
                f"the schedule of {NIGHTLY.name} has lost its values, so its runs fail: start once with "
                "--nightly and --library, or remove it in the UI"
            )
            continue
        _replace(client, generic.id, schedule, values)
        name = deployment_name(values["prefix"])
        yield f"the schedule of {NIGHTLY.name} is now that of {NIGHTLY.flow}/{name}"


def _replace(
    client: "SyncPrefectClient", deployment_id: UUID, old: "DeploymentSchedule", values: dict[str, Any]
) -> None:
    known = {place.name for place in read_places(client)}
    if deployment_name(values["prefix"]) not in known:
        _new_place(values, old.schedule, active=old.active).apply()
    client.delete_deployment_schedule(deployment_id, old.id)


def _values(client: "SyncPrefectClient", deployment_id: UUID, old: "DeploymentSchedule") -> dict[str, Any]:
    """Return the parameters of a schedule, or of its last run if a pause has emptied them."""
    from prefect.client.schemas.filters import DeploymentFilter, DeploymentFilterId
    from prefect.client.schemas.sorting import FlowRunSort

    if "prefix" in old.parameters:
        return old.parameters
    runs = client.read_flow_runs(
        deployment_filter=DeploymentFilter(id=DeploymentFilterId(any_=[deployment_id])),
        sort=FlowRunSort.EXPECTED_START_TIME_DESC,
    )
    of_schedule = (run.parameters for run in runs if run.created_by and run.created_by.id == old.id)
    return next((values for values in of_schedule if "prefix" in values), {})


def _new_place(values: dict[str, Any], schedule: Any, *, active: bool = True) -> "RunnerDeployment":
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    new_schedule = DeploymentScheduleCreate(schedule=schedule, active=active, slug=SLUG)
    return serve_place(deployment_name(values["prefix"]), parameters=values, schedules=[new_schedule])
