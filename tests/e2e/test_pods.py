"""A pod that is lost in the middle of a run leaves no run Running, and its work is taken up and finished.

Prefect's server, its worker for Kubernetes with the observer, and the runs are real, the cluster a stand-in.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.embedded.server import EmbeddedServer
from flows.flow_runs.own_server import read_password
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.nights.jobs import ingest_place, tokenize_place, with_bar
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.storage.uris import canonical
from tests.docker.recipes import ROOT
from tests.e2e.cluster import Cluster, kubernetes
from tests.e2e.processes import descendants
from tests.e2e.service import Service, serving, wait_until
from tests.e2e.tables import Row, rows, tables, what_was_done
from tests.e2e.world import opened, tone
from tests.fixtures_postgres import Database, migrated_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CLIPS, SECONDS, BATCH = 60, 15.0, 5
POOL, FLOW, NAME = "wordwave-gpu", "tokenize-clips", "pods"
MARKED_WITHIN, DONE_WITHIN = 100.0, 240.0
WRITTEN = ("clips", "token_sequences")


@dataclass(frozen=True)
class Pods:
    """Runs in the pods of a cluster, over a folder whose clips are listed."""

    service: Service
    cluster: Cluster
    database: Database
    folder: Path

    def start(self) -> str:
        path = f"/deployments/{self.service.deployment(FLOW, NAME)['id']}/create_flow_run"
        parameters = {"prefix": str(self.folder)}
        created = self.service.ask("POST", path, parameters=parameters, state={"type": "SCHEDULED"})
        return str(created["id"])

    def in_the_middle(self) -> str:
        """The pod of the only run, once a part of its clips has tokens."""
        wait_until(lambda: 0 < self.tokenized() < CLIPS, DONE_WITHIN)
        [pod] = self.cluster.list("pods")
        return str(pod["metadata"]["name"])

    def tokenized(self) -> int:
        linked = "SELECT count(*) FROM clips JOIN token_sequences USING (content_sha256)"
        return int(rows(self.database.url("writer"), linked)[0]["count"])

    def run_row(self) -> Row:
        [row] = rows(self.database.url("writer"), f"SELECT * FROM runs WHERE kind = '{FLOW}'")
        return row

    def check_as_undisturbed(self, undisturbed: Database) -> None:
        ours, theirs = (what_was_done(tables(one.url("writer"))) for one in (self.database, undisturbed))
        assert {name: ours[name] for name in WRITTEN} == {name: theirs[name] for name in WRITTEN}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "clips"
    path.mkdir()
    for number in range(CLIPS):
        (path / f"{number:03}.wav").write_bytes(tone(200 + number, SECONDS))
    return path


@pytest.fixture
def undisturbed(
    postgres: EmbeddedServer, migrated_template: str, folder: Path, tmp_path: Path
) -> Iterator[Database]:
    """The database of a run that nobody stopped."""
    with migrated_database(postgres, migrated_template) as database:
        settings = Settings(
            home=tmp_path / "other",
            database_url=database.url("writer"),
            read_roots=(str(folder),),
            llm="none",
            batch_size=BATCH,
        )
        place = canonical(str(folder))
        with opened(settings) as runtime, recorded_run(runtime, FLOW, place, {}) as run:
            ingest_place(runtime, place, run)
            tokenize_place(runtime, place, place, run, with_bar)
        yield database


@pytest.fixture
def pods(postgres: EmbeddedServer, migrated_template: str, folder: Path, tmp_path: Path) -> Iterator[Pods]:
    with migrated_database(postgres, migrated_template) as database:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_READ_ROOTS": str(folder),
            "WORDWAVE_DEVICE": "cpu",
            "WORDWAVE_LLM": "none",
            "WORDWAVE_BATCH_SIZE": str(BATCH),
            "WORDWAVE_HOME": str(tmp_path / "home"),
            "PYTHONPATH": str(ROOT),
        }
        with (
            serving(environment, tmp_path / "home") as service,
            kubernetes(environment, tmp_path) as (cluster, kubeconfig),
        ):
            deploy_to_cluster(service)
            listed = service.start("ingest-clips", prefix=str(folder))
            assert service.wait_for(listed)["type"] == "COMPLETED"
            with worker(service, kubeconfig, tmp_path):
                yield Pods(service, cluster, database, folder)


def deploy_to_cluster(service: Service) -> None:
    """Make the pool with the project's own template of a job, and a deployment whose runs are its pods."""
    template = json.loads((ROOT / "docker" / "gpu-job-template.json").read_text())
    service.ask("POST", "/work_pools/", name=POOL, type="kubernetes", base_job_template=template)
    served = service.deployment(FLOW)
    service.ask(
        "POST",
        "/deployments/",
        name=NAME,
        flow_id=served["flow_id"],
        entrypoint="flows.steps.tokenize_clips",
        parameter_openapi_schema=served["parameter_openapi_schema"],
        work_pool_name=POOL,
        job_variables={"image": "wordwave:cpu"},
    )


@contextmanager
def worker(service: Service, kubeconfig: Path, folder: Path) -> Iterator[None]:
    """Prefect's worker, as docker/kubernetes/base/workers.yaml starts it."""
    environment: dict[str, Any] = {
        "PREFECT_HOME": str(folder / "worker"),
        "PREFECT_API_URL": f"{service.address}/api",
        "PREFECT_API_AUTH_STRING": read_password(service.home),
        "PREFECT_CLIENT_CSRF_SUPPORT_ENABLED": "true",
        "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
        "PREFECT_WORKER_QUERY_SECONDS": "2",
        "PREFECT_WORKER_ENABLE_CANCELLATION": "true",
        "PREFECT_INTEGRATIONS_KUBERNETES_OBSERVER_NAMESPACES": "wordwave",
        "KUBECONFIG": str(kubeconfig),
    }
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL],
            env={**os.environ, **environment},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield
    finally:
        for pid in [process.pid, *descendants(process.pid)]:
            os.kill(pid, signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize("lost", ["killed", "deleted"])
def test_a_run_whose_pod_is_lost_is_crashed_and_the_next_one_finishes_its_work(
    pods: Pods, undisturbed: Database, lost: str
) -> None:
    first = pods.start()
    pod = pods.in_the_middle()
    pods.cluster.kill_pod(pod)
    if lost == "deleted":
        pods.cluster.delete("pods", pod)
    began = time.monotonic()
    state = pods.service.wait_for(first, patience=MARKED_WITHIN)
    print(f"marked after {time.monotonic() - began:.0f} s: {state['message']}")
    assert state["type"] == "CRASHED"
    assert "No active or succeeded pods" in state["message"], "the worker's observer says so at once"
    dead = pods.run_row()
    assert (dead["status"], dead["attempts"]) == ("running", 1)
    assert pods.tokenized() < CLIPS
    again = pods.start()
    assert pods.service.wait_for(again, patience=DONE_WITHIN)["type"] == "COMPLETED"
    done = pods.run_row()
    assert (done["id"], done["status"], done["attempts"]) == (dead["id"], "completed", 2)
    pods.check_as_undisturbed(undisturbed)


def test_a_run_whose_pod_is_evicted_goes_on_in_another_pod(pods: Pods, undisturbed: Database) -> None:
    run = pods.start()
    pods.cluster.evict_pod(pods.in_the_middle())
    assert pods.service.wait_for(run, patience=DONE_WITHIN)["type"] == "COMPLETED"
    done = pods.run_row()
    assert (done["status"], done["attempts"], str(done["flow_run_id"])) == ("completed", 2, run)
    assert len(pods.cluster.list("jobs")) == 2
    pods.check_as_undisturbed(undisturbed)
