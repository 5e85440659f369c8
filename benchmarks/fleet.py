"""A Prefect server of its own and worker processes that take shards, each as on a machine of its own."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.prefect_api import api_client
from flows.pipeline.configuration.settings import Settings
from flows.server.process import prefect_environment, prefect_server, server_environment, wait_until_healthy

POOL = "shards"
END_SECONDS = 30
DEPLOY = f"""
from flows.deployments import local_deployments
from flows.pipeline.nights.jobs import SHARD
[shard] = [deployment for deployment in local_deployments() if deployment.flow_name == SHARD]
shard.work_pool_name = {POOL!r}
shard.apply()
"""
NIGHT = """
import json, sys
from benchmarks.fleet import peak_megabytes
from flows.nightly import nightly_labeling
outcome = nightly_labeling(**json.loads(sys.argv[1]))
print(json.dumps({**outcome, "megabytes": peak_megabytes()}))
"""


def peak_megabytes() -> int:
    """Return the largest memory of this process so far, without that of the process that started it."""
    [peak] = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
    return int(peak.split()[1]) // 1024


def own_prefect(home: Path) -> dict[str, str]:
    """Return the environment that gives a process a Prefect server inside it, and time for that to start."""
    return {
        "PREFECT_HOME": str(home / "prefect"),
        "PREFECT_LOGGING_LEVEL": "ERROR",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",
    }


@dataclass(frozen=True)
class Fleet:
    """A running server and its workers. `environment` leads a process to the server and the database."""

    environment: Mapping[str, str]
    workers: list[subprocess.Popen[bytes]]

    def ask(self, path: str, **asked: Any) -> Any:
        """Return what Prefect's API answers to a question, as to its UI."""
        url, password = (self.environment[f"PREFECT_API_{name}"] for name in ("URL", "AUTH_STRING"))
        with api_client(url, password) as client:
            return client.post(path, json=asked).raise_for_status().json()

    def start_night(self, parameters: str) -> subprocess.Popen[str]:
        """nightly-labeling in a process of its own, its parameters as JSON; it prints what it returns."""
        command = [sys.executable, "-c", NIGHT, parameters]
        return subprocess.Popen(command, env=dict(self.environment), stdout=subprocess.PIPE, text=True)


@contextmanager
def fleet(workers: int, home: Path, given: Mapping[str, str]) -> Iterator[Fleet]:
    """Workers that take one shard at a time, in an environment with `given` in it; all end with the block.

    Each has a home, and so a lock on its device, of its own.
    """
    home.mkdir(parents=True, exist_ok=True)
    port, settings = free_port(), Settings(home=home)
    environment = {
        **os.environ,
        **prefect_environment(settings, port),
        "PREFECT_WORKER_QUERY_SECONDS": "1",
        "PREFECT_LOGGING_LEVEL": "WARNING",
        "WORDWAVE_HOME": str(home),
        **given,
    }
    with ExitStack() as stack:
        server = stack.enter_context(prefect_server(environment | server_environment(settings, port)))
        wait_until_healthy(server, port)
        for command in (
            ["-m", "prefect", "work-pool", "create", POOL, "--type", "process"],
            ["-c", DEPLOY],
        ):
            subprocess.run([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL, check=True)
        started = [stack.enter_context(_worker(number, home, environment)) for number in range(workers)]
        yield Fleet(environment, started)


@contextmanager
def _worker(number: int, home: Path, environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL, "--limit", "1"]
    worker = subprocess.Popen(
        [*command, "--name", f"worker-{number}"],
        env={**environment, "WORDWAVE_HOME": str(home / f"worker-{number}")},
        stdout=subprocess.DEVNULL,
    )
    try:
        yield worker
    finally:
        _end(worker)


def _end(worker: subprocess.Popen[bytes]) -> None:
    """Prefect's worker may wait for ever for a run whose process was killed under it."""
    worker.terminate()
    try:
        worker.wait(timeout=END_SECONDS)
    except subprocess.TimeoutExpired:
        worker.kill()
        worker.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
