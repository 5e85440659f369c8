"""Each place that is labeled every night has a deployment of its own, which people own once it is made."""

from datetime import time, timedelta
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import pytest

from flows.deployments import DEPLOYMENT_NAME, NIGHTLY, local_deployments
from flows.server.nights.places import (
    SLUG,
    NightlyPlace,
    create_missing_places,
    deployment_name,
    longest_pause,
    read_places,
    serve_places,
    share_limit,
)

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

CALLS = NightlyPlace("s3://calls/{day}", "sounds", time(2, 30), "Europe/Berlin")
PORCH = NightlyPlace("s3://porch/{day}", "birds", time(23, 30), "America/Lima")
OLD = CALLS.parameters | {"k_shot": 3}

pytestmark = pytest.mark.usefixtures("prefect_server")


@pytest.fixture
def client() -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for place in read_places(client):
            client.delete_deployment(place.id)
        generic = next(
            deployment for deployment in local_deployments() if deployment.full_name == NIGHTLY.name
        )
        deployment_id = cast(UUID, generic.apply())
        for schedule in client.read_deployment(deployment_id).schedules:
            client.delete_deployment_schedule(deployment_id, schedule.id)
        for run in client.read_flow_runs():
            client.delete_flow_run(run.id)
        yield client


def start(
    client: "SyncPrefectClient", *nights: NightlyPlace
) -> "tuple[dict[str, DeploymentResponse], list[str]]":
    """What a start of the service does, and the places that it leaves."""
    next(deployment for deployment in local_deployments() if deployment.full_name == NIGHTLY.name).apply()
    notes = create_missing_places(client, nights)
    share_limit(client, [cast(UUID, deployment.apply()) for deployment in serve_places(client)])
    return {place.name: place for place in read_places(client)}, notes


def switch(client: "SyncPrefectClient", place: "DeploymentResponse", active: bool) -> None:
    """Pause or resume a schedule as the switch of the UI does, which empties its parameters."""
    [schedule] = place.schedules
    client.update_deployment_schedule(place.id, schedule.id, active=active)


def schedule_of_before(client: "SyncPrefectClient", *, active: bool = True) -> None:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

    old = DeploymentScheduleCreate(schedule=CALLS.schedule, active=active, parameters=OLD, slug=SLUG)
    client.create_deployment_schedules(client.read_deployment_by_name(NIGHTLY.name).id, [old])


def test_two_places_have_a_deployment_each_and_neither_has_the_values_of_the_other(client: Any) -> None:
    places, notes = start(client, CALLS, PORCH)
    assert notes == []
    assert {name: place.parameters for name, place in places.items()} == {
        "calls": CALLS.parameters,
        "porch": PORCH.parameters,
    }
    for night, place in zip((CALLS, PORCH), places.values(), strict=True):
        [schedule] = place.schedules
        assert schedule.schedule == night.schedule
        assert schedule.active
        assert schedule.parameters == {}


def test_one_night_works_at_a_time_whatever_its_place(client: Any) -> None:
    places, _ = start(client, CALLS, PORCH)
    start(client)
    generic = client.read_deployment_by_name(NIGHTLY.name)
    limits = [client.read_deployment(place.id) for place in (*places.values(), generic)]
    assert {place.global_concurrency_limit.id for place in limits} == {generic.global_concurrency_limit.id}
    assert {place.global_concurrency_limit.limit for place in limits} == {1}
    assert {place.concurrency_options.collision_strategy for place in limits} == {"ENQUEUE"}


def test_a_pause_and_a_resume_take_nothing_from_what_a_night_is_run_with(client: Any) -> None:
    places, _ = start(client, CALLS)
    switch(client, places["calls"], False)
    switch(client, places["calls"], True)
    after = start(client, CALLS)[0]["calls"]
    assert after.parameters == CALLS.parameters
    assert [schedule.active for schedule in after.schedules] == [True]


def test_what_is_set_in_the_ui_outlives_a_start_with_the_same_command_line(client: Any) -> None:
    from prefect.client.schemas.actions import DeploymentUpdate
    from prefect.client.schemas.schedules import CronSchedule

    before = start(client, CALLS)[0]["calls"]
    edited = CALLS.parameters | {"library": "sounds@2", "min_margin": 0.2}
    client.update_deployment(before.id, DeploymentUpdate(parameters=edited))
    switch(client, before, False)
    own = CronSchedule(cron="0 12 * * 1", timezone="UTC")
    client.create_deployment_schedules(before.id, [(own, True)])
    client.pause_deployment(before.id)

    after = start(client, CALLS)[0]["calls"]
    assert after.id == before.id
    assert after.parameters == edited
    assert after.paused
    schedules = [(one.schedule, one.active) for one in after.schedules]
    found = sorted(((one.cron, on) for one, on in schedules if isinstance(one, CronSchedule)), reverse=True)
    assert found == [(CALLS.schedule.cron, False), (own.cron, True)]


def test_a_schedule_of_the_form_before_becomes_a_place_and_stays_paused(client: Any) -> None:
    schedule_of_before(client, active=False)
    places, notes = start(client)
    assert places["calls"].parameters == OLD
    [schedule] = places["calls"].schedules
    assert (schedule.schedule, schedule.active, schedule.parameters) == (CALLS.schedule, False, {})
    assert client.read_deployment_by_name(NIGHTLY.name).schedules == []
    assert notes == ["the schedule of nightly-labeling/wordwave is now that of nightly-labeling/calls"]
    assert start(client, CALLS)[0]["calls"].schedules == places["calls"].schedules


def test_other_schedules_of_the_general_deployment_are_left_alone(client: Any) -> None:
    from prefect.client.schemas.schedules import CronSchedule

    generic = client.read_deployment_by_name(NIGHTLY.name)
    client.create_deployment_schedules(generic.id, [(CronSchedule(cron="0 12 * * 1"), True)], parameters=OLD)
    places, notes = start(client)
    assert (places, notes) == ({}, [])
    [schedule] = client.read_deployment(generic.id).schedules
    assert schedule.parameters == OLD


def test_values_that_a_pause_took_are_found_in_an_earlier_run(client: Any) -> None:
    from prefect.states import Completed

    schedule_of_before(client)
    generic = client.read_deployment_by_name(NIGHTLY.name)
    client.request("POST", "/deployments/{id}/schedule", path_params={"id": generic.id}, json={})
    run = client.read_flow_runs(limit=1)[0]
    client.set_flow_run_state(run.id, Completed(), force=True)
    switch(client, generic, False)
    switch(client, generic, True)
    assert [one.parameters for one in client.read_deployment(generic.id).schedules] == [{}]

    places, _ = start(client)
    assert places["calls"].parameters == OLD
    assert [one.active for one in places["calls"].schedules] == [True]


def test_values_that_nothing_holds_any_more_come_from_the_command_line(client: Any) -> None:
    schedule_of_before(client)
    switch(client, client.read_deployment_by_name(NIGHTLY.name), False)
    places, [note] = start(client)
    assert places == {}
    assert note.startswith("the schedule of nightly-labeling/wordwave has lost its values")
    places, _ = start(client, CALLS)
    assert places["calls"].parameters == CALLS.parameters
    assert [schedule.active for schedule in places["calls"].schedules] == [False]


@pytest.mark.parametrize(
    ("prefix", "name"),
    [("s3://calls/{day}", "calls"), ("s3://calls/{day}/", "calls"), ("s3://a.b-c/{day}", "a.b-c")],
)
def test_a_place_is_called_after_its_bucket(prefix: str, name: str) -> None:
    assert deployment_name(prefix) == name


def test_no_two_places_share_a_name_and_none_takes_that_of_the_general_deployment() -> None:
    prefixes = [
        "s3://calls/{day}",
        "s3://calls",
        "/calls/{day}",
        "s3://calls/a/{day}",
        "s3://calls-a/{day}",
        "s3://calls/{day}/a",
        "s3://wordwave/{day}",
        "/",
        "s3://calls/ä/{day}",
        "s3://calls/ö/{day}",
        f"s3://calls/{'long/' * 100}{{day}}",
    ]
    names = [deployment_name(prefix) for prefix in prefixes]
    assert len(set(names)) == len(names)
    assert DEPLOYMENT_NAME not in names
    assert all(len(name) <= 70 and not set(name) & set("/%&<>") for name in names)


@pytest.mark.parametrize(
    ("rules", "days"),
    [
        (["0 2 * * *"], 1),
        (["0 2 * * 1-5"], 3),
        (["0 */6 * * *"], 1),
        (["0 2 * * 1", "0 2 * * 4"], 4),
        ([], 1),
    ],
)
def test_a_night_is_missing_only_after_the_longest_pause_of_its_schedules(
    rules: list[str], days: int
) -> None:
    from prefect.client.schemas.objects import DeploymentSchedule
    from prefect.client.schemas.schedules import CronSchedule

    schedules = [
        DeploymentSchedule(schedule=CronSchedule(cron=rule, timezone="Europe/Berlin")) for rule in rules
    ]
    assert longest_pause(schedules) == timedelta(days=days)


@pytest.mark.filterwarnings("ignore:'imghdr' is deprecated")
def test_the_alert_for_missing_nights_is_one_per_place_that_has_a_schedule(
    client: "SyncPrefectClient",
) -> None:
    from prefect.blocks.notifications import SlackWebhook

    from flows.server.automations import FRESHNESS, update_automations

    def alerts() -> dict[str, str]:
        """The deployment of each alert for missing nights."""
        update_automations("slack-webhook/operators")
        found = (one for one in client.read_automations() if one.name.startswith(FRESHNESS))
        return {one.name: one.trigger.model_dump()["match_related"]["prefect.resource.id"] for one in found}

    SlackWebhook(url="http://127.0.0.1:1/x").save("operators", overwrite=True)
    places, _ = start(client, CALLS, PORCH)
    assert alerts() == {
        f"{FRESHNESS}: {name}": f"prefect.deployment.{one.id}" for name, one in places.items()
    }
    client.delete_deployment(places["porch"].id)
    assert alerts().keys() == {f"{FRESHNESS}: calls"}
    update_automations(None)
