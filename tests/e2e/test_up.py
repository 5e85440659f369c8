"""`wordwave up` offers every flow behind one address, and leaves nothing behind when it ends."""

import signal
from pathlib import Path

import httpx
import pytest

from flows.deployments import DEPLOYED
from tests.e2e.processes import children, descendants, lives
from tests.e2e.service import serving
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
    }
    nightly = ["--nightly", f"{folder}/{{day}}", "--library", "sounds", "--timezone", "Europe/Berlin"]
    with serving(environment, tmp_path / "home", *nightly) as service:
        assert f"{len(DEPLOYED)} flows at {service.address}" in service.log.read_text()
        assert "<html" in httpx.get(service.address, follow_redirects=True).text
        offered = service.ask("POST", "/deployments/filter")
        assert {deployment["entrypoint"] for deployment in offered} == {d.entrypoint for d in DEPLOYED}
        [schedule] = service.deployment("nightly-labeling")["schedules"]
        assert schedule["schedule"]["timezone"] == "Europe/Berlin"
        assert service.wait_for(service.start("ingest-clips", prefix=str(folder)))["type"] == "COMPLETED"
        [clip] = rows(database.url("writer"), "SELECT uri FROM clips")
        assert clip["uri"].endswith("/a.wav")
        left = descendants(service.process.pid)
        assert left
        assert service.interrupt() == 0
        assert [pid for pid in left if lives(pid)] == []
    # what people set in the UI, and the schedule, are still there when it starts again; SIGTERM ends it too
    with serving(environment, tmp_path / "home") as service:
        [schedule] = service.deployment("nightly-labeling")["schedules"]
        assert schedule["parameters"]["prefix"] == f"{folder}/{{day}}"
        left = children(service.process.pid)
        service.process.send_signal(signal.SIGTERM)
        assert service.process.wait(60) == 0
        assert [pid for pid in left if lives(pid)] == []
