"""People are told of runs that fail and of nights that do not come, by the block that they named."""

import json
import threading
from collections.abc import Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from flows.server.nights.places import deployment_name
from tests.e2e.service import Service, make_library, serving, wait_until
from tests.fixtures_postgres import Database

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning"),
]


SILENCE_SECONDS = 20


@pytest.fixture
def told() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """The address of a webhook, and what it was told."""
    heard: list[dict[str, str]] = []

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", heard
    server.shutdown()
    server.server_close()


def make_block(service: Service, address: str) -> str:
    """A webhook's block, as people make it in the UI."""
    kind = service.ask("GET", "/block_types/slug/custom-webhook")
    [schema] = service.ask(
        "POST", "/block_schemas/filter", block_schemas={"block_type_id": {"any_": [kind["id"]]}}
    )
    service.ask(
        "POST",
        "/block_documents/",
        name="operators",
        block_type_id=kind["id"],
        block_schema_id=schema["id"],
        data={
            "name": "operators",
            "url": address,
            "json_data": {"subject": "{{subject}}", "body": "{{body}}"},
        },
    )
    return "custom-webhook/operators"


def test_a_failed_run_and_a_missing_night_of_one_place_are_told_once_a_block_is_named(
    database: Database,
    tmp_path: Path,
    told: tuple[str, list[dict[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.flow_runs.own_server import found_by_clients
    from flows.server import automations

    address, heard = told
    environment = {
        "WORDWAVE_DATABASE_URL": database.url("writer"),
        "WORDWAVE_READ_ROOTS": str(tmp_path),
        "WORDWAVE_LLM": "none",
    }
    make_library(environment, tmp_path / "home", tmp_path / "library")
    places = {name: tmp_path / name for name in ("calls", "porch")}
    for folder in places.values():
        folder.mkdir()
    nightly = [option for folder in places.values() for option in ("--nightly", f"{folder}/{{day}}")]
    with serving(environment, tmp_path / "home", *nightly, "--library", "sounds") as service:
        calls, porch = (deployment_name(f"{folder}/{{day}}") for folder in places.values())
        assert "nobody is alerted: set WORDWAVE_NOTIFICATION_BLOCK" in service.log.read_text()
        assert names(service) == {automations.MARK}
        with found_by_clients(service.home):
            assert "there is no block slack-webhook/nobody" in automations.update_automations(
                "slack-webhook/nobody"
            )
            block = make_block(service, address)
            assert automations.update_automations(block).startswith(f"{block} is alerted")
            first = changed(service)
            fresh = {f"{automations.FRESHNESS}: {name}" for name in (calls, porch)}
            assert first.keys() == {automations.MARK, automations.FAILURE, *fresh}
            automations.update_automations(block)
            assert changed(service) == first, "an automation that is as it should be is left alone"

            failing = service.start("ingest-clips", prefix="/nowhere")
            assert service.wait_for(failing)["type"] == "FAILED"
            refused = wait_for(heard, "ingest-clips Failed: ingest /nowhere")
            assert "may not be read" in refused["body"]
            assert f"/runs/flow-run/{failing}" in refused["body"]

            empty = service.start("ingest-clips", prefix=str(tmp_path / "empty"))
            assert service.wait_for(empty)["name"] == "Empty"
            no_clips = wait_for(heard, "ingest-clips Empty: ingest ")
            assert no_clips["body"].startswith("no clips: none are listed in ")

            monkeypatch.setattr(automations, "NIGHT_TAKES", timedelta(days=-1, seconds=SILENCE_SECONDS))
            automations.update_automations(block)
            missing = f"no nightly-labeling/{porch} completed for"

            def is_told() -> bool:
                complete_night(service, calls)
                return bool(find(heard, missing))

            wait_until(is_told)
            assert str(places["porch"]) in find(heard, missing)[0]["body"]
            assert not [one for one in heard if calls in one["subject"]]

            automations.update_automations(None)
            assert names(service) == {automations.MARK}


def wait_for(heard: list[dict[str, str]], begin: str) -> dict[str, str]:
    """The first message whose subject begins so; a busy server may tell one twice."""
    wait_until(lambda: find(heard, begin))
    return find(heard, begin)[0]


def find(heard: list[dict[str, str]], begin: str) -> list[dict[str, str]]:
    return [one for one in heard if one["subject"].startswith(begin)]


def complete_night(service: Service, place: str) -> None:
    """A run of a place's deployment that completes."""
    path = f"/deployments/{service.deployment('nightly-labeling', place)['id']}/create_flow_run"
    run = service.ask("POST", path, state={"type": "PENDING"})["id"]
    service.ask("POST", f"/flow_runs/{run}/set_state", state={"type": "COMPLETED"}, force=True)


def changed(service: Service) -> dict[str, str]:
    """When each automation was changed last, by name."""
    return {found["name"]: found["updated"] for found in service.ask("POST", "/automations/filter")}


def names(service: Service) -> set[str]:
    return set(changed(service))
