"""The job of a run in the GPU pool, made from the template as Prefect's worker makes it."""

import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prefect.utilities.templating import find_placeholders
from prefect_kubernetes.worker import KubernetesWorker

from tests.docker.manifests import Manifest, sent_by_a_worker, with_defaults
from tests.docker.recipes import job_template

OWN = {"gpus", "node_selector", "secret_name", "config_map_name", "models_claim", "scratch_size"}
"""Variables that Prefect's own template does not have."""


@pytest.fixture(scope="module")
def job() -> Manifest:
    """The manifest with the defaults of every variable."""
    return sent_by_a_worker()


def container(job: Manifest) -> Manifest:
    containers: list[Manifest] = job["spec"]["template"]["spec"]["containers"]
    [one] = containers
    return one


def test_every_placeholder_is_a_variable_and_every_variable_is_used() -> None:
    template = job_template()
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert used == template["variables"]["properties"].keys()
    Draft202012Validator.check_schema(template["variables"])


def test_the_variables_are_those_of_prefects_worker_and_our_own() -> None:
    theirs = KubernetesWorker.get_default_base_job_template()
    ours = job_template()
    assert ours["variables"]["properties"].keys() == theirs["variables"]["properties"].keys() | OWN
    assert ours["job_configuration"].keys() == theirs["job_configuration"].keys()


def test_a_run_has_one_gpu_and_may_be_scheduled_where_gpus_are(job: Manifest) -> None:
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == 1
    keys = {toleration["key"] for toleration in job["spec"]["template"]["spec"]["tolerations"]}
    assert keys == {"nvidia.com/gpu"}
    wanted = {"nvidia.com/gpu.product": "NVIDIA-L40S"}
    chosen = sent_by_a_worker(node_selector=wanted)
    assert chosen["spec"]["template"]["spec"]["nodeSelector"] == wanted


def test_a_run_that_is_evicted_is_scheduled_again_by_prefect_and_not_by_kubernetes(job: Manifest) -> None:
    assert job["spec"]["backoffLimit"] == 0
    behavior = {"name": "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR", "value": "reschedule"}
    assert behavior in container(job)["env"]
    kept = job["spec"]["template"]["metadata"]["annotations"]
    assert kept["cluster-autoscaler.kubernetes.io/safe-to-evict"] == "false"
    assert kept["karpenter.sh/do-not-disrupt"] == "true"


def test_no_timeout_ends_a_run_that_is_quiet_or_waits_for_a_gpu(job: Manifest) -> None:
    assert job_template()["variables"]["properties"]["job_watch_timeout_seconds"]["default"] is None
    assert "activeDeadlineSeconds" not in job["spec"]
    assert "activeDeadlineSeconds" not in job["spec"]["template"]["spec"]


def test_secrets_and_models_are_mounted(job: Manifest) -> None:
    volumes = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert mounts.keys() == volumes
    secrets = [variable for variable in container(job)["env"] if variable["name"].endswith("_FILE")]
    assert len(secrets) == 3
    assert all(variable["value"].startswith(mounts["secrets"] + "/") for variable in secrets)
    assert not re.search(r"(?i)password|://", str(job))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("image", "registry.example/wordwave:cuda", "registry.example/wordwave:cuda"),
        ("cpu_request", "4", "4"),
        ("gpus", "0", 0),
        ("finished_job_ttl", "60", 60),
        ("node_selector", '{"pool": "gpu"}', {"pool": "gpu"}),
    ],
)
def test_a_default_of_the_config_map_keeps_its_type(tmp_path: Path, name: str, text: str, value: Any) -> None:
    template = with_defaults({name: f"{text}\n"}, tmp_path)
    described = template["variables"]["properties"][name]
    assert described["default"] == value
    Draft202012Validator(described | {"$defs": {}}).validate(value)
    sent_by_a_worker(template)


def test_a_default_that_is_no_variable_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no variable memory; choose from .*memory_limit"):
        with_defaults({"memory": "1Gi"}, tmp_path)
