"""The service on a cluster keeps what compose.yaml promises: checked by schemas, not on a cluster."""

import copy
import os
import re
import shutil
import subprocess
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from botocore.configprovider import BOTOCORE_DEFAUT_SESSION_VARIABLES
from prefect.settings.legacy import _get_valid_setting_names
from prefect.settings.models.root import Settings as PrefectSettings
from prefect_kubernetes.settings import KubernetesSettings
from pydantic_settings import BaseSettings

from flows.deployments import DEPLOYMENTS
from flows.server.process import ServerSettings
from tests.docker.manifests import COMPONENT, CONTROLLERS, FLOW_RUN, FOLDER, Cluster, Pod
from tests.docker.recipes import DOCKER, ROOT, compose, stages

VERSIONS = ("1.30", "1.37")
"""Of Kubernetes, the oldest and the newest."""
SERVED = {"prefect-server", "prefect-services", "redis", "watchdog", "cpu-worker", "kubernetes-worker"}
JOBS = {"migrate", "migrate-prefect", "deploy"}
TRIAL = {"postgres", "s3", "buckets"}
SECRET = re.compile(r"PASSWORD|CREDENTIALS|AUTH_STRING|DATABASE_URL|CONNECTION_URL|DOCKET_URL|_KEY\b")
REQUIRED_BY_PREFECT = ("completions", "parallelism")
"""Fields that Prefect's worker demands in a pod, where Kubernetes knows none."""


def test_the_service_is_complete(cluster: Cluster) -> None:
    beside = TRIAL if cluster.overlay == "overlays/trial" else set()
    assert cluster.pods.keys() == SERVED | JOBS | {FLOW_RUN} | beside


@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_is_what_kubernetes_knows(cluster: Cluster, version: str) -> None:
    for one in copy.deepcopy(list(cluster.objects)):
        if one["metadata"]["name"] == FLOW_RUN:
            for name in REQUIRED_BY_PREFECT:
                del one["spec"]["template"]["spec"][name]
        kubernetes_validate.validate(one, version, strict=True)


def test_the_schemas_refuse_a_misspelled_field(cluster: Cluster) -> None:
    wrong = copy.deepcopy(cluster.kind("Deployment")["prefect-server"])
    wrong["spec"]["template"]["spec"]["containers"][0]["readyProbe"] = {}
    with pytest.raises(kubernetes_validate.ValidationError, match="readyProbe"):
        kubernetes_validate.validate(wrong, VERSIONS[-1], strict=True)


def test_nobody_is_root_or_can_become_it_or_writes_its_image(cluster: Cluster) -> None:
    [namespace] = cluster.kind("Namespace").values()
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for name, pod in cluster.pods.items():
        context = pod.spec["securityContext"]
        assert context["runAsNonRoot"] is True, name
        assert min(context["runAsUser"], context["runAsGroup"], context["fsGroup"]) > 0, name
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}, name
        assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys(), name
        for container in pod.containers:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, name


def test_our_own_pods_have_the_user_of_the_image(cluster: Cluster) -> None:
    user, _, group = stages()["runtime"].of("USER")[0].partition(":")
    for name, pod in cluster.pods.items():
        if pod.main["image"].rpartition(":")[0].endswith("wordwave"):
            context = pod.spec["securityContext"]
            assert (str(context["runAsUser"]), str(context["runAsGroup"])) == (user, group), name


def test_memory_and_disk_of_each_are_bounded(cluster: Cluster) -> None:
    for name, pod in cluster.pods.items():
        for container in pod.containers:
            assert container["resources"]["limits"]["memory"], name
            assert container["resources"]["requests"].keys() >= {"cpu", "memory"}, name
        for volume in pod.spec["volumes"]:
            assert "hostPath" not in volume, name
            assert volume.get("emptyDir", {"sizeLimit": "-"})["sizeLimit"], name


def test_only_the_worker_that_makes_jobs_may_ask_the_cluster_and_for_nothing_else(cluster: Cluster) -> None:
    accounts = cluster.kind("ServiceAccount")
    for name, pod in cluster.pods.items():
        account = accounts[pod.spec["serviceAccountName"]]
        may_ask = pod.spec.get("automountServiceAccountToken", account["automountServiceAccountToken"])
        assert may_ask == (name == "kubernetes-worker"), name
    [role] = cluster.kind("Role").values()
    granted = {
        (resource, verb) for rule in role["rules"] for resource in rule["resources"] for verb in rule["verbs"]
    }
    assert granted == {
        *(("jobs", verb) for verb in ("create", "get", "list", "watch", "delete")),
        *(("pods", verb) for verb in ("get", "list", "watch")),
        ("pods/log", "get"),
    }
    [binding] = cluster.kind("RoleBinding").values()
    assert [subject["name"] for subject in binding["subjects"]] == ["kubernetes-worker"]
    assert not cluster.kind("ClusterRole", "ClusterRoleBinding")


def test_secrets_are_named_and_never_written(cluster: Cluster) -> None:
    assert not cluster.kind("Secret")
    for name, pod in cluster.pods.items():
        for variable in pod.environment:
            value = str(variable.get("value", ""))
            assert not re.search(r"://[^/\s]*@", value), name
            if SECRET.search(variable["name"]):
                assert variable["name"].endswith(("_FILE", "_SECRET_NAME", "_SECRET_KEY")), (name, variable)
            if variable["name"].endswith("_FILE"):
                assert any(value.startswith(mount + "/") for mount in secret_folders(pod)), (name, variable)
    for one in cluster.kind("ConfigMap").values():
        assert not re.search(r"://[^/\s]*@|(?i:password|secret_access_key)", str(one["data"]))


def secret_folders(pod: Pod) -> set[str]:
    """Where secrets are mounted in a pod."""
    volumes = {one["name"] for one in pod.spec["volumes"] if "secret" in one}
    mounts = [mount for container in pod.containers for mount in container["volumeMounts"]]
    assert all(mount["readOnly"] for mount in mounts if mount["name"] in volumes)
    return {mount["mountPath"] for mount in mounts if mount["name"] in volumes}


@pytest.fixture(scope="module")
def drawn(kubectl: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, bytes]]:
    """The secrets that the documented commands make, by name and key."""
    folder = tmp_path_factory.mktemp("docker")
    shutil.copytree(FOLDER, folder / "kubernetes")
    shutil.copy(DOCKER / "make-secrets.sh", folder)
    subprocess.run([folder / "make-secrets.sh"], check=True, capture_output=True)
    environment = {"PATH": f"{kubectl.parent}:{os.environ['PATH']}", "HOME": "/nowhere"}
    command = [str(folder / "kubernetes" / "secrets.sh"), "trial"]
    done = subprocess.run(command, check=True, capture_output=True, env=environment)
    assert (folder / "secrets" / "prefect_auth").read_bytes().endswith(b"\n")
    return {
        one["metadata"]["name"]: {key: b64decode(value) for key, value in one["data"].items()}
        for one in yaml.safe_load_all(done.stdout)
    }


def test_the_documented_commands_make_every_secret_that_is_named(
    cluster: Cluster, drawn: dict[str, dict[str, bytes]]
) -> None:
    for name, pod in cluster.pods.items():
        names = {one["name"]: one["secret"]["secretName"] for one in pod.spec["volumes"] if "secret" in one}
        mounts = [mount for container in pod.containers for mount in container["volumeMounts"]]
        folders = {mount["mountPath"]: names[mount["name"]] for mount in mounts if mount["name"] in names}
        assert set(folders.values()) == set(names.values()) <= drawn.keys(), name
        for variable in pod.environment:
            folder, _, key = str(variable.get("value", "")).rpartition("/")
            if folder in folders:
                assert key in drawn[folders[folder]], (name, variable)
    given = {one["name"]: one.get("value") for one in cluster.pods["kubernetes-worker"].environment}
    prefix = "PREFECT_INTEGRATIONS_KUBERNETES_WORKER_API_AUTH_STRING_SECRET"
    assert given[f"{prefix}_KEY"] in drawn[str(given[f"{prefix}_NAME"])]


def test_a_secret_has_no_newline_at_its_end(drawn: dict[str, dict[str, bytes]]) -> None:
    """A variable that is made from it would keep it, and the password would be another one."""
    values = [value for secret in drawn.values() for value in secret.values()]
    assert all(values)
    assert not [value for value in values if value.endswith(b"\n")]


def test_nobody_holds_a_secret_that_it_does_not_need(cluster: Cluster) -> None:
    holders: dict[str, set[str]] = {}
    for name, pod in cluster.pods.items():
        mounted = {mount["name"] for mount in pod.main["volumeMounts"]}
        for volume in pod.spec["volumes"]:
            if "secret" in volume and volume["name"] in mounted:
                holders.setdefault(volume["secret"]["secretName"], set()).add(name)
    assert holders["owner"] == {"migrate"}
    assert holders["redis"] == {"redis"}
    assert holders["prefect-server"] == {"prefect-server", "prefect-services", "migrate-prefect"}
    assert holders["wordwave"] == {"cpu-worker", "watchdog", FLOW_RUN}
    assert holders.get("s3-admin", {"buckets"}) == {"buckets"}


def test_images_are_ours_or_of_the_complete_version_that_compose_names(cluster: Cluster) -> None:
    known = {one["image"] for one in compose()["services"].values()}
    registry = "registry.example/" if cluster.overlay == "overlays/cloud" else ""
    for pod in cluster.pods.values():
        for container in pod.containers:
            assert container["image"].removeprefix(registry) in known


def test_processes_are_those_of_compose(cluster: Cluster) -> None:
    services = compose()["services"]
    for name in ("prefect-server", "prefect-services", "watchdog", "migrate", "cpu-worker", "redis"):
        expected = [
            word.replace("/run/secrets/", "/run/secrets/redis/") for word in services[name]["command"]
        ]
        assert cluster.pods[name].main["args"] == expected
    ours = cluster.settings("prefect-server")
    for variable, value in services["prefect-server"]["environment"].items():
        if "_FILE" not in variable and not value.startswith("${") and "${" not in value:
            assert ours[variable] == value, variable


def test_every_pool_of_the_deployments_has_a_worker_that_makes_no_pool_of_its_own(cluster: Cluster) -> None:
    commands = [pod.main.get("args", []) for pod in cluster.pods.values()]
    workers = [command for command in commands if command[:3] == ["prefect", "worker", "start"]]
    pools = {command[command.index("--pool") + 1] for command in workers}
    assert pools == {deployed.pool for deployed in DEPLOYMENTS}
    assert not [command for command in workers if "--type" in command]
    script = cluster.pods["deploy"].main["args"][-1]
    assert {f"work-pool create {pool}" in script for pool in pools} == {True}
    assert "--base-job-template" in script


def test_workers_wait_until_the_schema_is_theirs(cluster: Cluster) -> None:
    for name in ("cpu-worker", "kubernetes-worker"):
        [waiting] = cluster.pods[name].spec["initContainers"]
        assert waiting["args"] == ["python", "wait_for_schema.py"]
        assert (DOCKER / "wait_for_schema.py").is_file()


def test_what_keeps_running_is_watched(cluster: Cluster) -> None:
    unwatched = {name for name, pod in cluster.pods.items() if "livenessProbe" not in pod.main}
    jobs = {name for name, pod in cluster.pods.items() if pod.kind == "Job"}
    assert unwatched == jobs | {"watchdog"}  # which ends when it can no longer work
    for name, pod in cluster.pods.items():
        ports = {port["name"] for port in pod.main.get("ports", ())}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = pod.main.get(probe, {}).get("httpGet")
            assert asked is None or asked["port"] in ports, name


def test_the_server_knows_the_names_that_it_is_asked_under(cluster: Cluster) -> None:
    """Those of workers, of probes and of the ingress: it refuses every other one."""
    settings = cluster.settings("prefect-server")
    origins = settings["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"].split(",")
    assert cluster.settings("wordwave")["PREFECT_API_URL"] == "http://prefect-server:4200/api"
    assert "http://prefect-server:4200" in origins
    assert settings["PREFECT_SERVER_UI_API_URL"].removesuffix("/api") in origins
    hosts = {origin.partition("://")[2] for origin in origins}
    server = cluster.pods["prefect-server"].main
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        [header] = server[probe]["httpGet"]["httpHeaders"]
        assert header["name"] == "Host"
        assert header["value"] in hosts
    for ingress in cluster.kind("Ingress").values():
        named = {rule["host"] for rule in ingress["spec"]["rules"]}
        assert named <= hosts
        assert named == {host for tls in ingress["spec"]["tls"] for host in tls["hosts"]}


def test_no_service_tells_a_pod_of_itself_by_variables(cluster: Cluster) -> None:
    """A service prefect-server would set PREFECT_SERVER_PORT and its like, where Prefect has its settings."""
    assert {pod.spec["enableServiceLinks"] for pod in cluster.pods.values()} == {False}


def test_children_of_a_flow_that_was_killed_are_buried(cluster: Cluster) -> None:
    for name in ("cpu-worker", FLOW_RUN):
        assert cluster.pods[name].spec["shareProcessNamespace"] is True


def test_a_pod_has_time_to_end_a_run(cluster: Cluster) -> None:
    from flows.pipeline.runtime.termination import GRACE_SECONDS

    for name in ("cpu-worker", "kubernetes-worker", FLOW_RUN):
        assert cluster.pods[name].spec["terminationGracePeriodSeconds"] > 2 * GRACE_SECONDS


def names_of(settings: type[BaseSettings]) -> Iterator[str]:
    """The variables of a settings class and of those in it."""
    prefix = str(settings.model_config["env_prefix"])
    for name, field in settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseSettings):
            yield from names_of(field.annotation)
        yield f"{prefix}{name}".upper()


def test_every_variable_is_a_setting_that_is_read(cluster: Cluster) -> None:
    known = {
        *(f"WORDWAVE_{name.upper()}" for name in ServerSettings.model_fields),
        *_get_valid_setting_names(PrefectSettings),
        *names_of(KubernetesSettings),
        *(names[1] for names in BOTOCORE_DEFAUT_SESSION_VARIABLES.values() if isinstance(names[1], str)),
        "PREFECT_FLOW_RUN_EXECUTE_SIGTERM_BEHAVIOR",
        *(f"PREFECT__FLOW_{name}" for name in ("ID", "NAME", "RUN_ID")),
        "PREFECT_REDIS_MESSAGING_URL",  # of prefect-redis, which only images have
        "PGDATA",  # those of Postgres's own image
        "POSTGRES_PASSWORD",
        "POSTGRES_INITDB_ARGS",
    }
    for name, pod in cluster.pods.items():
        for variable in pod.environment:
            stem = variable["name"].removesuffix("__FILE")
            stem = stem if stem in known else stem.removesuffix("_FILE")
            assert stem in known or variable["name"] in known, (name, variable)
    for kept in ("wordwave", "prefect-server"):
        assert set(cluster.settings(kept)) <= known, kept


def test_what_is_named_is_there(cluster: Cluster) -> None:
    made_by_a_command = {"initdb"}
    for name, pod in cluster.pods.items():
        maps = [volume["configMap"]["name"] for volume in pod.spec["volumes"] if "configMap" in volume]
        maps += [
            one["configMapRef"]["name"]
            for container in pod.containers
            for one in container.get("envFrom", ())
        ]
        assert set(maps) - made_by_a_command <= cluster.kind("ConfigMap").keys(), name
        volumes = {volume["name"] for volume in pod.spec["volumes"]}
        claims = {claim["metadata"]["name"] for claim in templates(cluster, name)}
        for container in pod.containers:
            assert {mount["name"] for mount in container["volumeMounts"]} <= volumes | claims, name
        asked = {
            one["persistentVolumeClaim"]["claimName"]
            for one in pod.spec["volumes"]
            if "persistentVolumeClaim" in one
        }
        assert asked <= cluster.kind("PersistentVolumeClaim").keys(), name


def templates(cluster: Cluster, name: str) -> list[dict[str, Any]]:
    kept: list[dict[str, Any]] = (
        cluster.kind("StatefulSet").get(name, {"spec": {}})["spec"].get("volumeClaimTemplates", [])
    )
    return kept


def selected(selector: dict[str, Any]) -> set[str]:
    """The components that a selector names."""
    labels = selector.get("matchLabels", {})
    listed = [one for one in selector.get("matchExpressions", ()) if one["key"] == COMPONENT]
    return (
        {labels[COMPONENT]} if COMPONENT in labels else {value for one in listed for value in one["values"]}
    )


def test_selectors_name_pods_that_are_there(cluster: Cluster) -> None:
    for kind in CONTROLLERS - {"Job"}:
        for name, one in cluster.kind(kind).items():
            assert selected(one["spec"]["selector"]) == {name}
    for one in cluster.kind("Service").values():
        assert {one["spec"]["selector"][COMPONENT]} <= cluster.pods.keys()
    for one in cluster.kind("PodDisruptionBudget").values():
        assert selected(one["spec"]["selector"]) <= cluster.pods.keys()
    for one in cluster.kind("NetworkPolicy").values():
        assert selected(one["spec"]["podSelector"]) <= cluster.pods.keys()
        for rule in [*one["spec"].get("ingress", ()), *one["spec"].get("egress", ())]:
            for peer in [*rule.get("from", ()), *rule.get("to", ())]:
                assert selected(peer.get("podSelector", {})) <= cluster.pods.keys()


def test_a_node_can_always_be_drained(cluster: Cluster) -> None:
    assert "prefect-server" in cluster.kind("PodDisruptionBudget")
    for budget in cluster.kind("PodDisruptionBudget").values():
        assert "minAvailable" not in budget["spec"]
        assert budget["spec"]["maxUnavailable"] >= 1


def reached(cluster: Cluster, name: str) -> set[int]:
    """The ports that a component may reach, beside those of names."""
    return {
        port["port"]
        for policy in cluster.kind("NetworkPolicy").values()
        if name in selected(policy["spec"]["podSelector"])
        for rule in policy["spec"].get("egress", ())
        for port in rule["ports"]
    }


def test_nobody_reaches_more_than_it_needs(cluster: Cluster) -> None:
    policies = cluster.kind("NetworkPolicy")
    assert policies["nobody"]["spec"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    s3 = 8333 if cluster.overlay == "overlays/trial" else 443
    assert reached(cluster, FLOW_RUN) == reached(cluster, "cpu-worker") == {4200, 5432, s3}
    assert reached(cluster, "kubernetes-worker") == {4200, 5432, 443, 6443}
    assert reached(cluster, "prefect-server") == {5432, 6379}
    assert reached(cluster, "prefect-services") == {5432, 6379, 443}
    assert reached(cluster, "migrate") == reached(cluster, "watchdog") == {5432}
    assert reached(cluster, "deploy") == {4200}
    assert reached(cluster, "redis") == set()
    for policy in policies.values():
        for rule in policy["spec"].get("egress", ()):
            assert rule["ports"]
            for peer in rule["to"]:
                if peer.get("ipBlock", {}).get("cidr") == "0.0.0.0/0":
                    assert peer["ipBlock"]["except"] == ["169.254.0.0/16"]


def test_no_value_of_a_secret_is_in_the_tree() -> None:
    for path in FOLDER.rglob("*"):
        if path.is_file():
            text = path.read_text()
            assert not re.search(r"kind: Secret\b|stringData|://[^/\s@]+:[^/\s@]+@|AKIA", text), path
    assert "docker/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
