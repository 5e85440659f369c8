"""A stand-in for the API of Kubernetes over HTTP: each job has one pod, which is a process of this machine.

It knows what Prefect's worker and its observer ask for: lists and watches of jobs and pods with all events
since a version, one job, a new job, a deleted one, and logs. A pod that ends is not started again (a job's
`backoffLimit` is 0).
"""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import deepcopy
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import uuid4

from tests.e2e.processes import descendants

Object = dict[str, Any]
RESOURCES = {
    "/api": {"versions": ["v1"]},
    "/apis": {
        "groups": [
            {"name": "batch", "versions": [{"version": "v1"}], "preferredVersion": {"version": "v1"}},
        ]
    },
    "/version": {"major": "1", "minor": "37"},
}
KINDS = {"pods": "Pod", "jobs": "Job"}
VERBS = ["create", "get", "list", "watch", "delete"]


class Cluster:
    """Jobs, their pods, and all that happened to them, in order."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._environment, self._log = environment, log
        self._objects: dict[str, dict[str, Object]] = {"jobs": {}, "pods": {}}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self.history: list[tuple[str, Object]] = []
        self.changed = threading.Condition()
        self.is_open = True

    @property
    def version(self) -> int:
        return len(self.history)

    def list(self, kind: str, selector: str = "") -> list[Object]:
        with self.changed:
            return [deepcopy(one) for one in self._objects[kind].values() if is_selected(one, selector)]

    def find(self, kind: str, name: str) -> Object | None:
        with self.changed:
            return deepcopy(self._objects[kind].get(name))

    def create_job(self, namespace: str, job: Object) -> Object:
        """Adds a job with its pod, whose process starts at once."""
        name = f"{job['metadata'].get('generateName', 'job-')}{uuid4().hex[:5]}"
        template = job["spec"]["template"]
        job = {**job, "metadata": {**job["metadata"], **_identity(name, namespace)}, "status": {"active": 1}}
        labels = {**template["metadata"].get("labels", {}), "job-name": name}
        pod = {
            "metadata": {**_identity(f"{name}-{uuid4().hex[:5]}", namespace), "labels": labels},
            "spec": template["spec"],
            "status": {
                "phase": "Running",
                "containerStatuses": [_container({"running": {"startedAt": now()}})],
            },
        }
        self._processes[pod["metadata"]["name"]] = self._start(template["spec"]["containers"][0])
        self._put("ADDED", "jobs", job)
        self._put("ADDED", "pods", pod)
        waiting = threading.Thread(target=self._wait, args=(name, pod["metadata"]["name"]))
        waiting.start()
        self._threads.append(waiting)
        return job

    def delete(self, kind: str, name: str) -> None:
        with self.changed:
            found = self._objects[kind].pop(name, None)
        if found:
            self._put("DELETED", kind, found)

    def kill_pod(self, name: str) -> None:
        """As out of memory, or when the node loses its power: nobody is asked."""
        process = self._processes[name]
        for pid in [process.pid, *descendants(process.pid)]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def evict_pod(self, name: str) -> None:
        """As a drain does: SIGTERM, and the pod goes when its process has ended."""
        self._processes[name].terminate()
        self._processes[name].wait()
        self.delete("pods", name)

    def close(self) -> None:
        self.is_open = False
        for name in self._processes:
            self.kill_pod(name)
        for thread in self._threads:
            thread.join()

    def _start(self, container: Object) -> subprocess.Popen[bytes]:
        given = {one["name"]: one["value"] for one in container["env"] if "value" in one}
        mounted = {name for name, value in given.items() if value.startswith("/run/secrets/")}
        plain = {name: value for name, value in given.items() if name not in mounted}
        with self._log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *container["args"]],
                env={**os.environ, **plain, **self._environment},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _wait(self, job: str, pod: str) -> None:
        """Report the end of a pod's process, as a node and the controller of jobs do."""
        status = self._processes[pod].wait()
        ended = {"exitCode": status % 256, "reason": "Error" if status else "Completed", "finishedAt": now()}
        phase, counted = ("Failed", "failed") if status else ("Succeeded", "succeeded")
        self._change("pods", pod, {"phase": phase, "containerStatuses": [_container({"terminated": ended})]})
        self._change("jobs", job, {counted: 1})

    def _change(self, kind: str, name: str, status: Object) -> None:
        if found := self.find(kind, name):
            self._put("MODIFIED", kind, {**found, "status": status})

    def _put(self, event: str, kind: str, one: Object) -> None:
        with self.changed:
            one["metadata"]["resourceVersion"] = str(self.version + 1)
            if event != "DELETED":
                self._objects[kind][one["metadata"]["name"]] = one
            self.history.append((kind, {"type": event, "object": deepcopy(one)}))
            self.changed.notify_all()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def is_selected(one: Object, selector: str) -> bool:
    """Whether the labels are those of `a=b,c`."""
    labels = one["metadata"].get("labels", {})
    asked = [part.partition("=") for part in selector.split(",") if part]
    return all(name in labels and (not equals or labels[name] == value) for name, equals, value in asked)


def _identity(name: str, namespace: str) -> Object:
    return {"name": name, "namespace": namespace, "uid": str(uuid4()), "creationTimestamp": now()}


def _container(state: Object) -> Object:
    return {
        "name": "prefect-job",
        "image": "",
        "imageID": "",
        "ready": False,
        "restartCount": 0,
        "state": state,
    }


class Handler(BaseHTTPRequestHandler):
    """One request to the API."""

    cluster: Cluster

    def do_GET(self) -> None:
        """Answer with objects, or with events until the cluster is closed."""
        kind, name, rest = self._route()
        if self._path in RESOURCES:
            self._answer(RESOURCES[self._path])
        elif self._path in ("/api/v1", "/apis/batch/v1"):
            names = ["jobs"] if "batch" in self._path else ["pods", "namespaces"]
            self._answer({"resources": [_resource(name) for name in names]})
        elif kind and rest == "log":
            self._answer("")
        elif kind and name:
            self._answer(self.cluster.find(kind, name))
        elif kind and self._asked("watch") == "true":
            self._watch(kind)
        elif kind:
            version = str(self.cluster.version)
            found = self.cluster.list(kind, self._asked("labelSelector"))
            kinds = {"kind": f"{KINDS[kind]}List", "apiVersion": "batch/v1" if kind == "jobs" else "v1"}
            self._answer({**kinds, "metadata": {"resourceVersion": version}, "items": found})
        else:
            self._answer(None)

    def do_POST(self) -> None:
        """Make a job."""
        content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self._answer(self.cluster.create_job(self._path.split("/")[-2], content), 201)

    def do_DELETE(self) -> None:
        """Delete an object."""
        kind, name, _ = self._route()
        self.cluster.delete(kind, name)
        self._answer({"status": "Success"})

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    @property
    def _path(self) -> str:
        return urlsplit(self.path).path.rstrip("/")

    def _asked(self, name: str) -> str:
        return parse_qs(urlsplit(self.path).query).get(name, [""])[0]

    def _route(self) -> tuple[str, str, str]:
        """The kind, name and part that a path names, empty where it names none."""
        parts = self._path.partition("/namespaces/")[2].split("/")[1:]
        kind, name, rest, *_ = [*parts, "", "", ""]
        return (kind if kind in KINDS else ""), name, rest

    def _answer(self, content: Any, status: int = 200) -> None:
        missing = {"kind": "Status", "status": "Failure", "reason": "NotFound", "code": 404}
        body = content.encode() if isinstance(content, str) else json.dumps(content or missing).encode()
        self.send_response(404 if content is None else status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _watch(self, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        selector, at = self._asked("labelSelector"), int(self._asked("resourceVersion") or 0)
        with suppress(BrokenPipeError, ConnectionResetError):
            for happened, event in self._events(at):
                if happened == kind and is_selected(event["object"], selector):
                    self.wfile.write(json.dumps(event).encode() + b"\n")
                    self.wfile.flush()

    def _events(self, at: int) -> Iterator[tuple[str, Object]]:
        while self.cluster.is_open:
            with self.cluster.changed:
                if self.cluster.version == at:
                    self.cluster.changed.wait(timeout=0.5)
                fresh = self.cluster.history[at:]
            yield from fresh
            at += len(fresh)


def _resource(name: str) -> Object:
    """What is said of a kind. The observer waits, and watches nothing, until it knows of namespaces."""
    kind = KINDS.get(name, "Namespace")
    common = {"namespaced": name in KINDS, "verbs": VERBS, "shortNames": [], "categories": []}
    return {"name": name, "singularName": kind.lower(), "kind": kind, **common}


@contextmanager
def kubernetes(environment: Mapping[str, str], folder: Path) -> Iterator[tuple[Cluster, Path]]:
    """A cluster, and the kubeconfig that leads to it; no process of a pod is left behind."""
    cluster = Cluster(environment, folder / "pods.log")
    handler = type("Bound", (Handler,), {"cluster": cluster})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        serving = threading.Thread(target=server.serve_forever)
        serving.start()
        try:
            yield cluster, _kubeconfig(folder / "kubeconfig", server.server_address[1])
        finally:
            cluster.close()
            server.shutdown()
            serving.join()


def _kubeconfig(path: Path, port: int) -> Path:
    named = {"cluster": "here", "user": "worker", "namespace": "wordwave"}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "here",
        "contexts": [{"name": "here", "context": named}],
        "clusters": [{"name": "here", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "worker", "user": {"token": "none"}}],
    }
    path.write_text(json.dumps(content))
    return path
