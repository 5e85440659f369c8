"""The production shape: nothing runs as root, holds a secret inline or goes unwatched."""

import re
from typing import Any

import pytest

from flows.deployments import DEPLOYMENTS
from tests.docker.recipes import DOCKER, ROOT, compose, stages

SERVICES = compose()["services"]
WORKERS = {"cpu-worker", "cpu-labeler", "gpu-worker"}
JOBS = {"migrate", "buckets", "deploy"}
"""They end; everything else runs until it is stopped."""
TWO_PARTS = {"wordwave-postgres", "chrislusf/seaweedfs"}
"""Images whose complete versions have two numbers."""


@pytest.fixture(params=sorted(SERVICES))
def service(request: pytest.FixtureRequest) -> dict[str, Any]:
    return {"name": request.param, **SERVICES[request.param]}


def test_the_stack_is_complete() -> None:
    servers = {"postgres", "s3", "redis", "prefect-server", "prefect-services", "watchdog"}
    monitors = {"metrics", "prometheus", "grafana"}
    assert {name for name, one in SERVICES.items() if one.get("profiles") == ["monitoring"]} == monitors
    assert SERVICES.keys() == servers | monitors | WORKERS | JOBS


def test_every_pool_of_the_deployments_has_a_worker_with_and_without_a_gpu() -> None:
    wanted = {deployed.pool for deployed in DEPLOYMENTS}
    for profile in ("cpu", "gpu"):
        running = [
            SERVICES[name] for name in WORKERS if SERVICES[name].get("profiles", [profile]) == [profile]
        ]
        pools = {worker["command"][worker["command"].index("--pool") + 1] for worker in running}
        assert pools == wanted
        assert len(running) == len(pools)
    assert "COMPOSE_PROFILES=cpu" in (DOCKER / ".env.example").read_text().splitlines()


def test_what_keeps_running_is_watched_and_started_again(service: dict[str, Any]) -> None:
    if service["name"] in JOBS:
        assert service["restart"] == "no"
        assert "healthcheck" not in service
    else:
        assert service["restart"] == "unless-stopped"
        assert service["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}


def test_a_service_waits_until_what_it_needs_is_healthy_or_done(service: dict[str, Any]) -> None:
    for name, condition in service.get("depends_on", {}).items():
        wanted = "service_completed_successfully" if name in JOBS else "service_healthy"
        assert condition == {"condition": wanted}
    waited_for = {name for other in SERVICES.values() for name in other.get("depends_on", {})}
    assert waited_for >= JOBS


def test_images_are_pinned_to_a_complete_version(service: dict[str, Any]) -> None:
    name, _, tag = service["image"].partition(":")
    if name == "wordwave":
        assert service["build"]["target"] == tag
        assert tag in stages()
        assert (DOCKER / service["build"]["context"] / service["build"]["dockerfile"]).is_file()
    else:
        parts = 2 if name in TWO_PARTS else 3
        assert re.fullmatch(rf"v?\d+(\.\d+){{{parts - 1}}}(-\w[\w.]*)?", tag), service["image"]


def test_postgres_is_the_pinned_one_with_pgvector_of_its_major_version() -> None:
    built = SERVICES["postgres"]
    recipe = built["build"]["dockerfile_inline"]
    tag = built["image"].partition(":")[2]
    assert recipe.startswith(f"FROM postgres:{tag}\n")
    assert f" postgresql-{tag.partition('.')[0]}-pgvector " in recipe


def test_nobody_is_root_or_can_become_it(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is True
    assert "privileged" not in service


def test_secrets_are_files_and_never_values(service: dict[str, Any]) -> None:
    for variable, value in service.get("environment", {}).items():
        assert not re.search(r"://[^/\s]*@", str(value)), variable
        if re.search(r"PASSWORD|SECRET|CREDENTIALS|AUTH_STRING|DATABASE_URL|CONNECTION_URL", variable):
            assert variable.endswith("_FILE")
        if str(value).startswith("/run/secrets/"):
            assert value.removeprefix("/run/secrets/") in service["secrets"], variable
    assert set(service.get("secrets", ())) <= compose()["secrets"].keys()


def test_only_the_uis_and_s3_are_published_and_only_to_this_machine() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published.keys() == {"prefect-server", "s3", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_the_workers_reach_nothing_outside() -> None:
    assert compose()["networks"]["internal"] == {"internal": True}
    assert all(SERVICES[name]["networks"] == ["internal"] for name in WORKERS)


def test_memory_and_processes_of_each_are_bounded(service: dict[str, Any]) -> None:
    assert re.fullmatch(r"\d+g|\$\{WORKER_MEMORY:-\d+g\}", service["mem_limit"])
    assert 0 < service["pids_limit"] <= 4096


def written_by(name: str) -> set[str]:
    """The named volumes that a service may write."""
    mounted = [volume.split(":") for volume in SERVICES[name].get("volumes", ())]
    return {source for source, *rest in mounted if rest[-1] != "ro"}


def test_a_worker_shares_nothing_that_it_writes_with_a_server() -> None:
    written = set().union(*map(written_by, WORKERS))
    assert written
    assert not written & set().union(*(written_by(name) for name in SERVICES.keys() - WORKERS))


def test_redis_asks_for_a_password_that_no_worker_has() -> None:
    assert SERVICES["redis"]["command"] == ["redis-server", "/run/secrets/redis_config"]
    holders = {name for name, one in SERVICES.items() if "redis_docket_url" in one.get("secrets", ())}
    assert holders == {"prefect-server", "prefect-services"}


def test_the_server_refuses_forged_requests_foreign_pages_and_foreign_names() -> None:
    server = SERVICES["prefect-server"]
    assert server["command"] == ["python", "-m", "flows.server.api_server", "--no-services"]
    assert server["environment"]["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert "*" not in server["environment"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]
    assert "http://prefect-server:4200" in server["environment"]["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"]


def test_only_the_job_that_makes_buckets_is_administrator_of_s3() -> None:
    holders = {name for name, one in SERVICES.items() if "s3_admin_credentials" in one.get("secrets", ())}
    assert holders == {"buckets"}


def test_every_variable_of_the_stack_is_explained() -> None:
    asked = set(re.findall(r"\$\{(\w+)", (DOCKER / "compose.yaml").read_text()))
    explained = re.findall(r"^(\w+)=", (DOCKER / ".env.example").read_text(), re.MULTILINE)
    assert asked | {"COMPOSE_PROFILES"} == set(explained)


def test_mounted_files_and_volumes_are_there(service: dict[str, Any]) -> None:
    for config in compose()["configs"].values():
        assert (DOCKER / config["file"]).is_file()
    for volume in service.get("volumes", ()):
        source = volume.partition(":")[0]
        assert source in compose()["volumes"] or source.startswith("${MODELS_FOLDER"), volume


def test_what_is_drawn_and_chosen_here_is_not_committed() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"docker/.env", "docker/secrets/", "docker/models/"} <= set(ignored)
