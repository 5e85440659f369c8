"""The Kubernetes job of the GPU pool, made from the template as a worker makes it."""

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from prefect.utilities.templating import apply_values, find_placeholders

from tests.docker.recipes import job_template


@pytest.fixture(scope="module")
def job() -> dict[str, Any]:
    """The manifest with the defaults of every variable, as `prefect work-pool` would fill them in."""
    template = job_template()
    defaults = {
        name: variable["default"]
        for name, variable in template["variables"]["properties"].items()
        if variable.get("default") is not None
    }
    filled: dict[str, Any] = apply_values(template["job_configuration"], defaults, remove_notset=True)
    manifest: dict[str, Any] = filled["job_manifest"]
    return manifest


def container(job: dict[str, Any]) -> dict[str, Any]:
    containers: list[dict[str, Any]] = job["spec"]["template"]["spec"]["containers"]
    [one] = containers
    return one


def test_every_placeholder_is_a_variable_and_every_variable_is_used() -> None:
    template = job_template()
    used = {placeholder.name for placeholder in find_placeholders(template["job_configuration"])}
    assert used == template["variables"]["properties"].keys()
    Draft202012Validator.check_schema(template["variables"])


def test_prefect_finds_the_shape_that_its_worker_demands(job: dict[str, Any]) -> None:
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "Job")
    pod = job["spec"]["template"]["spec"]
    assert (pod["parallelism"], pod["completions"], pod["restartPolicy"]) == (1, 1, "Never")
    assert job["spec"]["backoffLimit"] == 0


def test_a_run_has_one_gpu_and_may_be_scheduled_where_gpus_are(job: dict[str, Any]) -> None:
    assert container(job)["resources"]["limits"]["nvidia.com/gpu"] == 1
    keys = {toleration["key"] for toleration in job["spec"]["template"]["spec"]["tolerations"]}
    assert keys == {"nvidia.com/gpu"}


def test_a_pod_is_not_root_and_writes_nothing_but_its_volumes(job: dict[str, Any]) -> None:
    pod = job["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert pod["securityContext"]["runAsUser"] == 10001
    assert not pod["automountServiceAccountToken"]
    context = container(job)["securityContext"]
    assert context["readOnlyRootFilesystem"]
    assert not context["allowPrivilegeEscalation"]
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_secrets_and_models_are_mounted(job: dict[str, Any]) -> None:
    volumes = {volume["name"] for volume in job["spec"]["template"]["spec"]["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container(job)["volumeMounts"]}
    assert mounts.keys() == volumes
    for variable in container(job)["env"]:
        assert variable["name"].endswith("_FILE")
        assert variable["value"].startswith(mounts["secrets"] + "/")
    assert not re.search(r"(?i)password|://", str(job))
