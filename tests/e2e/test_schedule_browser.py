"""What becomes of the nights when people click: pauses, resumed schedules, restarts, two places."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import pytest

from flows.server.nights.places import deployment_name
from tests.e2e.browsing import open_place, sign_in
from tests.e2e.service import Service, make_library, serving, wait_until
from tests.e2e.world import tone
from tests.fixtures_postgres import Database

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1200)]

FLOW, ZONE = "nightly-labeling", "Europe/Berlin"
MINUTE, PATIENCE = 60, 400


def yesterday() -> str:
    return str(datetime.now(ZoneInfo(ZONE)).date() - timedelta(days=1))


@pytest.fixture
def places(tmp_path: Path) -> dict[str, str]:
    """Two places with a clip each, and their prefixes."""
    for name, pitch in {"calls": 210, "porch": 2900}.items():
        folder = tmp_path / "clips" / name / yesterday()
        folder.mkdir(parents=True)
        (folder / f"{name}.wav").write_bytes(tone(pitch))
    return {name: f"{tmp_path}/clips/{name}/{{day}}" for name in ("calls", "porch")}


def deployment(service: Service, prefix: str) -> Any:
    return service.deployment(FLOW, deployment_name(prefix))


def bring_near(service: Service, place: Mapping[str, Any]) -> None:
    """Let the only schedule of a place come in a moment."""
    near = datetime.now(UTC) + timedelta(seconds=20)
    service.ask(
        "PATCH",
        f"/deployments/{place['id']}/schedules/{place['schedules'][0]['id']}",
        schedule={"interval": MINUTE, "anchor_date": near.isoformat()},
    )


def toggle(page: "Page", *, on: bool) -> None:
    """Pause or resume the schedule of the deployment on the page."""
    switch = page.get_by_role("switch", checked=not on)
    with page.expect_response(lambda answer: answer.request.method == "PATCH") as patched:
        switch.click()
    assert patched.value.ok, patched.value.text()
    page.get_by_role("switch", checked=on).wait_for()


def done(service: Service, place: Mapping[str, Any]) -> list[Any]:
    """The runs of a place that are not still to come."""
    runs = service.ask(
        "POST", "/flow_runs/filter", flow_runs={"deployment_id": {"any_": [place["id"]]}}, limit=100
    )
    return [run for run in runs if run["state_type"] not in ("SCHEDULED", "PENDING", "RUNNING")]


def test_a_night_whose_schedule_was_paused_and_resumed_runs_with_its_values(
    page: "Page", places: dict[str, str], database: Database, tmp_path: Path
) -> None:
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_READ_ROOTS": str(tmp_path / "clips"),
        "WORDWAVE_LLM": "none",
    }
    home = tmp_path / "home"
    make_library(environment, home, tmp_path / "clips" / "library")
    given = [word for prefix in places.values() for word in ("--nightly", prefix)]
    night = [*given, "--library", "sounds", "--library", "sounds@1", "--timezone", ZONE]

    with serving(environment, home, *night) as service:
        sign_in(page, service)
        for name in places:
            open_place(page, service, deployment_name(places[name]))
            toggle(page, on=False)
        open_place(page, service, deployment_name(places["calls"]))
        toggle(page, on=True)
        assert deployment(service, places["calls"])["schedules"][0]["active"]
        porch = deployment(service, places["porch"])
        own = [{"schedule": {"cron": "0 12 * * 1", "timezone": "UTC"}, "active": True}]
        service.client.post(f"/deployments/{porch['id']}/schedules", json=own).raise_for_status()
        assert service.interrupt() == 0

    with serving(environment, home, *night) as service:
        calls, porch = (deployment(service, prefix) for prefix in places.values())
        bring_near(service, calls)
        wait_until(lambda: done(service, calls), PATIENCE)
        run = done(service, calls)[-1]
        assert run["state_name"] == "Completed", run["state"]["message"]
        assert run["parameters"] == calls["parameters"]
        assert run["parameters"]["prefix"] == places["calls"]
        assert done(service, porch) == []
        assert {one["schedule"].get("cron"): one["active"] for one in porch["schedules"]} == {
            "0 2 * * *": False,
            "0 12 * * 1": True,
        }
        sign_in(page, service)
        open_place(page, service, deployment_name(places["calls"]))
        page.get_by_role("button", name="Run", exact=True).click()
        page.get_by_role("menuitem", name="Custom run").click()
        assert page.get_by_label("Prefix").input_value() == places["calls"]
        assert page.get_by_label("Library", exact=True).input_value() == "sounds"
