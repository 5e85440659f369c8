"""A cluster of Ray on this machine: nodes of one CPU each, and nights in processes of their own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

OBJECT_STORE_BYTES = 80 * 2**20
OF_RAY = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_worker_niceness": "0",  # 15 otherwise: beside other work on this machine they would get no time
}
NIGHT = """
import json, sys
from benchmarks.fleet import peak_megabytes
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.nights.on_ray import on_ray
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import open_runtime
prefix, library = sys.argv[1:]
runtime = open_runtime(Settings())
night = run_night(
    runtime, partition_of(prefix), LabelRequest(library), with_bar, kind="nightly-labeling", export=True,
    distribute=on_ray(runtime.settings),
)
runtime.close()
counted = {"run": str(night.run.id), "megabytes": peak_megabytes(), **night.run.counts}
print(json.dumps(counted))
"""
"""A night as nightly-labeling does it, without Prefect: on Ray if WORDWAVE_RAY is set."""


def start_night(environment: Mapping[str, str], prefix: str, library: str) -> subprocess.Popen[str]:
    """Start a night, which prints the peak of its memory and its counts."""
    command = [sys.executable, "-c", NIGHT, prefix, library]
    return subprocess.Popen(command, env={**os.environ, **environment}, stdout=subprocess.PIPE, text=True)


@dataclass
class RayNodes:
    """Running nodes beside a head without CPUs. `environment` leads a night to them and to the database."""

    cluster: Any
    environment: Mapping[str, str]
    nodes: list[Any] = field(default_factory=list)

    def add(self, **environment: str) -> Any:
        """Start a node with its own home, as a machine of its own has."""
        home = f"{self.environment['WORDWAVE_HOME']}/node-{len(self.nodes)}"
        with _environment({**self.environment, "WORDWAVE_HOME": home, **environment}):
            node = self.cluster.add_node(num_cpus=1, object_store_memory=OBJECT_STORE_BYTES)
        self.nodes.append(node)
        return node

    def actors(self, node: Any) -> list[int]:
        """Return the processes of the actors on a node."""
        [raylet] = node.all_processes["raylet"]
        return [pid for pid in _children(raylet.process.pid) if "ray::BatchWorker" in _title(pid)]

    def kill(self, node: Any) -> None:
        """End a node as a machine does that loses its power."""
        [raylet] = node.all_processes["raylet"]
        pids = [raylet.process.pid, *_below(raylet.process.pid)]
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


@contextmanager
def ray_nodes(count: int, home: Path, given: Mapping[str, str]) -> Iterator[RayNodes]:
    """Nodes that work on nights, in an environment with `given` in it; all end with the block."""
    from ray.cluster_utils import Cluster

    home.mkdir(parents=True, exist_ok=True)
    environment = {**OF_RAY, "WORDWAVE_HOME": str(home), **given}
    with _environment(environment):
        cluster = Cluster(
            initialize_head=True,
            head_node_args={"num_cpus": 0, "object_store_memory": OBJECT_STORE_BYTES},
        )
    try:
        nodes = RayNodes(cluster, {**environment, "WORDWAVE_RAY": str(cluster.address)})
        for _ in range(count):
            nodes.add()
        yield nodes
    finally:
        cluster.shutdown()


@contextmanager
def _environment(given: Mapping[str, str]) -> Iterator[None]:
    """Give this process's children an environment: Ray's nodes take over the one of who starts them."""
    before = dict(os.environ)
    os.environ.update(given)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _children(pid: int) -> list[int]:
    with suppress(FileNotFoundError, ProcessLookupError):
        threads = Path(f"/proc/{pid}/task").iterdir()
        return [int(child) for thread in threads for child in (thread / "children").read_text().split()]
    return []


def _below(pid: int) -> list[int]:
    found = _children(pid)
    return [*found, *(below for child in found for below in _below(child))]


def _title(pid: int) -> str:
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/cmdline").read_text()
    return ""
