"""prefect.yaml offers to work pools what `wordwave up` serves, and Prefect takes it."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from flows.deployments import DEPLOYMENT_NAME, DEPLOYMENTS, NIGHTLY
from flows.flow_runs.form_flow import check_values
from flows.server.nights.places import deployment_name
from flows.server.prefect_yaml import render
from tests.flows.conftest import collect_sockets

FILE = Path(__file__).parents[2] / "prefect.yaml"
POOLS = ["wordwave-cpu", "wordwave-gpu"]


def run(command: list[str], environment: dict[str, str]) -> None:
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def in_file() -> list[dict[str, Any]]:
    deployments: list[dict[str, Any]] = yaml.safe_load(FILE.read_text())["deployments"]
    return deployments


def test_the_file_is_what_the_list_of_deployments_gives() -> None:
    assert FILE.read_text() == render(), "write it again: python -m flows.server.prefect_yaml > prefect.yaml"


def test_the_file_and_the_list_say_the_same() -> None:
    assert [
        (entry["name"], entry["entrypoint"], tuple(entry["tags"]), entry["work_pool"]["name"])
        for entry in in_file()
        if "schedules" not in entry
    ] == [(DEPLOYMENT_NAME, deployed.entrypoint, deployed.tags, deployed.pool) for deployed in DEPLOYMENTS]
    limits = {
        entry["entrypoint"]: entry["concurrency_limit"]["limit"]
        for entry in in_file()
        if "concurrency_limit" in entry
    }
    assert limits == {deployed.entrypoint: deployed.max_runs for deployed in DEPLOYMENTS if deployed.max_runs}


def test_the_scheduled_night_is_one_that_the_form_would_take() -> None:
    [nightly] = [entry for entry in in_file() if entry.get("schedules")]
    [schedule] = nightly["schedules"]
    assert nightly["entrypoint"] == NIGHTLY.entrypoint
    assert nightly["name"] == deployment_name(nightly["parameters"]["prefix"])
    assert schedule["timezone"] == nightly["parameters"]["timezone"]
    assert "parameters" not in schedule
    check_values(NIGHTLY.load(), nightly["parameters"])


@pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")
def test_a_server_takes_the_whole_file(prefect_server: None, tmp_path: Path) -> None:
    from prefect.client.orchestration import get_client
    from prefect.settings import PREFECT_API_URL

    prefect = [sys.executable, "-m", "prefect", "--no-prompt"]
    environment = {"PREFECT_API_URL": PREFECT_API_URL.value(), "PREFECT_HOME": str(tmp_path)}
    for pool in POOLS:
        run([*prefect, "work-pool", "create", pool, "--type", "process"], environment)
    run([*prefect, "deploy", "--all", "--prefect-file", str(FILE)], environment)
    with get_client(sync_client=True) as client:
        offered = client.read_deployments()
        place = client.read_deployment_by_name(f"{NIGHTLY.flow}/calls")
        client.delete_deployment(place.id)  # other tests count the places of this server
    found = {one.entrypoint: one for one in offered if one.name == DEPLOYMENT_NAME}
    assert found.keys() == {deployed.entrypoint for deployed in DEPLOYMENTS}
    for deployed in DEPLOYMENTS:
        deployment = found[deployed.entrypoint]
        assert deployment.work_pool_name == deployed.pool
        assert deployment.description == deployed.load().description
        assert deployment.pull_steps in (None, [])
        limit = deployment.global_concurrency_limit
        assert (limit and limit.limit) == deployed.max_runs
    assert place.entrypoint == NIGHTLY.entrypoint
    assert place.parameters["timezone"] == "Europe/Berlin"
    [schedule] = place.schedules
    assert schedule.schedule.model_dump()["timezone"] == "Europe/Berlin"
    assert not schedule.active
    collect_sockets()
