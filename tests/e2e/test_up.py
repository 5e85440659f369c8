"""`wordwave up` offers every flow behind one address, and leaves nothing behind when it ends."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from flows.deployments import DEPLOYMENTS
from flows.flow_runs.own_server import password_file
from flows.server.nights.places import deployment_name
from tests.e2e.processes import children, command, descendants, lives
from tests.e2e.service import Service, free_port, make_library, serving, wait_until
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database

pytestmark = pytest.mark.timeout(600)


def test_a_flow_is_started_over_the_api_and_ctrl_c_ends_it_all(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.wav").write_bytes(tone(210))
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_READ_ROOTS": str(folder),
        "WORDWAVE_LLM": "none",
        "WORDWAVE_METRICS_PORT": str(free_port()),
        "WORDWAVE_ANALYST_DATABASE_URL": database.url("analyst"),
        "WORDWAVE_EXPLORE_PORT": str(free_port()),
    }
    make_library(environment, tmp_path / "home", folder / "library")
    prefix = f"{folder}/{{day}}"
    nightly = ["--nightly", prefix, "--library", "sounds", "--timezone", "Europe/Berlin"]
    with serving(environment, tmp_path / "home", *nightly) as service:
        said = service.log.read_text()
        assert f"{len(DEPLOYMENTS)} flows at {service.address}" in said
        assert f"{prefix} by sounds\n             at 02:00 every day in Europe/Berlin; next " in said
        assert "<html" in httpx.get(service.address, follow_redirects=True).text
        offered = service.ask("POST", "/deployments/filter")
        assert {deployment["entrypoint"] for deployment in offered} == {d.entrypoint for d in DEPLOYMENTS}
        [schedule] = service.deployment("nightly-labeling", deployment_name(prefix))["schedules"]
        assert schedule["schedule"]["timezone"] == "Europe/Berlin"
        again = second_up(environment, tmp_path / "home", free_port())
        assert again.returncode == 1
        assert f"process {service.process.pid}, {service.address}." in again.stderr
        assert service.wait_for(service.start("ingest-clips", prefix=str(folder)))["type"] == "COMPLETED"
        clips = rows(database.url("writer"), "SELECT uri FROM clips WHERE uri LIKE '%/a.wav'")
        assert len(clips) == 1
        metrics = httpx.get(f"http://127.0.0.1:{environment['WORDWAVE_METRICS_PORT']}/metrics").text
        assert 'wordwave_runs{flow="ingest-clips",status="completed"} 1.0' in metrics
        pages = f"http://127.0.0.1:{environment['WORDWAVE_EXPLORE_PORT']}"
        assert f"Explore      {pages}" in said
        assert httpx.get(pages).status_code == 401
        user, _, password = service.password.partition(":")
        assert "Places and nights" in httpx.get(pages, auth=(user, password)).text
        left = descendants(service.process.pid)
        assert left
        assert service.interrupt() == 0
        assert [pid for pid in left if lives(pid)] == []
    # what people set in the UI, and the schedule, are still there when it starts again; SIGTERM ends it too
    with serving(environment, tmp_path / "home") as service:
        place = service.deployment("nightly-labeling", deployment_name(prefix))
        assert place["parameters"]["prefix"] == prefix
        assert len(place["schedules"]) == 1
        left = children(service.process.pid)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert [pid for pid in left if lives(pid)] == []


def second_up(
    environment: dict[str, str], home: Path, port: int, *options: str
) -> subprocess.CompletedProcess[str]:
    """Start the service where it cannot be started, and return how that ended."""
    command = [sys.executable, "-m", "flows.cli", "up", "--port", str(port), *options]
    given = {**os.environ, **environment, "WORDWAVE_HOME": str(home)}
    return subprocess.run(command, env=given, capture_output=True, text=True, timeout=240)


def test_a_night_that_would_fail_or_a_port_that_is_taken_ends_the_start(
    database: Database, tmp_path: Path
) -> None:
    environment = {"WORDWAVE_DATABASE_URL": database.url("writer"), "WORDWAVE_READ_ROOTS": str(tmp_path)}
    night = ["--nightly", f"{tmp_path}/{{day}}", "--library", "soundz"]
    refused = second_up(environment, tmp_path / "home", free_port(), *night)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1] == (
        f"Error: {tmp_path}/{{day}} cannot be labeled every night: "
        "there is no library soundz: import one first"
    )
    refused = second_up(environment, tmp_path / "home", free_port(), "--analyst-port", str(free_port()))
    assert refused.returncode == 2
    assert "--analyst-port leads to the embedded Postgres" in refused.stderr
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        refused = second_up(environment, tmp_path / "home", port)
    assert refused.returncode == 1
    assert refused.stderr.startswith(f"Error: port {port} of 127.0.0.1 is not available")


def test_behind_a_dead_proxy_it_is_found_refuses_strangers_and_shows_its_password_to_nobody(
    database: Database, tmp_path: Path
) -> None:
    dead = "http://127.0.0.1:9"  # nobody listens at the discard port
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_LLM": "none",
        **dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), dead),
    }
    with serving(environment, tmp_path / "home") as service:
        assert_strangers_are_refused(service)
        assert_password_is_shown_to_nobody(service)
        asking = {**os.environ, **environment, "WORDWAVE_HOME": str(service.home)}
        found = subprocess.run(DOCTOR, env=asking, capture_output=True, text=True)
        assert f"at {service.address}/api" in found.stdout, found.stdout + found.stderr
        assert f"{len(DEPLOYMENTS)} flows are deployed, each with a worker" in found.stdout


DOCTOR = [sys.executable, "-m", "flows.cli", "doctor"]


def assert_strangers_are_refused(service: Service) -> None:
    change, variable, api = (
        f"{service.address}/api/variables/",
        {"name": "planted", "value": "x"},
        service.client,
    )

    def answer(*without: str, **headers: str) -> int:
        kept = {name: value for name, value in api.headers.items() if name not in without}
        auth = None if "authorization" in without else api.auth
        return httpx.post(change, json=variable, auth=auth, headers=kept | headers).status_code

    assert answer("authorization") == 401
    assert answer("prefect-csrf-token") == 403
    assert answer(Origin="https://evil.example") == 403
    assert answer(Host="evil.example") == 403
    assert httpx.post(f"{service.address}/api/flow_runs/filter").status_code == 403
    assert httpx.get(f"{service.address}/api/flows/count").status_code in (401, 405)
    preflight = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    refused = httpx.options(change, headers=preflight)
    assert refused.status_code == 403
    assert "access-control-allow-origin" not in refused.headers
    assert service.ask("POST", "/variables/count") == 0
    assert answer() == 201


def assert_password_is_shown_to_nobody(service: Service) -> None:
    secret = service.password.partition(":")[2]
    assert f"cat {password_file(service.home)}" in service.log.read_text()
    assert secret not in service.log.read_text()
    shown = [command(pid) for pid in (service.process.pid, *descendants(service.process.pid))]
    assert not [line for line in shown if secret in line]


def test_a_run_that_is_under_way_when_it_ends_is_marked_and_taken_up(
    database: Database, tmp_path: Path
) -> None:
    folder, home = tmp_path / "clips", tmp_path / "home"
    folder.mkdir()
    (folder / "a.wav").write_bytes(tone(210))
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_READ_ROOTS": str(folder),
        "WORDWAVE_LLM": "none",
        "WORDWAVE_DEVICE": "cpu",
    }
    with serving(environment, home) as service:
        (home / "locks").mkdir()
        with (home / "locks" / "device-cpu").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # a computation of somebody else, for which the run waits
            service.wait_for(service.start("ingest-clips", prefix=str(folder)))
            run = service.start("tokenize-clips", prefix=str(folder))
            service.wait_for(run, frozenset({"RUNNING"}))
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(120) == 0
    with serving(environment, home) as service:
        state = service.state(run)
        assert state["type"] == "CANCELLED"
        assert "the next run of the same request takes its work up" in state["message"]
        again = service.start("tokenize-clips", prefix=str(folder))
        assert service.wait_for(again)["type"] == "COMPLETED"


CATCHES_SIGTERM = 1 << (signal.SIGTERM - 1)


def catches_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    return bool(int(status.partition("SigCgt:")[2].split()[0], 16) & CATCHES_SIGTERM)


@pytest.mark.parametrize("seconds", [0, 0.5, 3, 8])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_however_early(
    database: Database, tmp_path: Path, number: signal.Signals, seconds: float
) -> None:
    given = {"WORDWAVE_HOME": str(tmp_path), "WORDWAVE_DATABASE_URL": database.url("writer")}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "flows.cli", "up", "--port", str(free_port())],
            env={**os.environ, **given},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_until(lambda: catches_sigterm(process.pid))
        time.sleep(seconds)
        left = descendants(process.pid)
        process.send_signal(number)
        assert process.wait(60) == 0
        wait_until(lambda: not any(map(lives, left)))
        assert "Traceback" not in (tmp_path / "log").read_text()
    finally:
        process.kill()
        process.wait()
