"""The doctor's checks of Prefect: the server, its deployments, their limits and the alerts."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from flows.deployments import DEPLOYMENTS, FlowDeployment
from flows.flow_runs.own_server import found_by_clients
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance.doctor import Examination, examine
from flows.pipeline.runs.check import Check, Concern
from flows.server.automations import alert_names

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

Question = Callable[["SyncPrefectClient"], str]
"""A check of a server that returns its finding, or raises."""


def examine_service(settings: Settings) -> Iterator[Check]:
    """Run every check of the doctor: first what the pipeline needs, then Prefect."""
    return examine(settings, PREFECT_EXAMINATIONS)


def ask(question: Question, home: Path) -> str:
    """Ask the server of PREFECT_API_URL, or that of this home. Without either, Prefect would start one."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    with found_by_clients(home):
        if get_current_settings().api.url is None:
            return "PREFECT_API_URL is not set: flows run in the process that calls them"
        with get_client(sync_client=True) as client:
            return question(client)


def check_server(client: "SyncPrefectClient") -> str:
    """Check that the server answers, and has the Prefect version of this process."""
    if (found := client.api_version()) != (here := version("prefect")):
        raise ValueError(f"the server is Prefect {found}, this process has {here}")
    return f"Prefect {here} at {client.api_url}"


def check_workers(client: "SyncPrefectClient") -> str:
    """Check that every flow has a deployment with a worker."""
    known = _deployments(client)
    if missing := [deployed.name for deployed in DEPLOYMENTS if deployed not in known]:
        raise ValueError(
            f"{len(missing)} of {len(DEPLOYMENTS)} flows are not deployed: {', '.join(missing[:3])}"
        )
    idle = [deployed.name for deployed, found in known.items() if found.status != "READY"]
    if idle:
        raise ValueError(
            f"no worker is polling for {len(idle)} of {len(DEPLOYMENTS)} flows: {', '.join(idle[:3])}"
        )
    return f"{len(known)} flows are deployed, each with a worker"


def check_limits(client: "SyncPrefectClient") -> str:
    """Check the concurrency limits of the deployments."""
    known = _deployments(client)
    for deployed, found in known.items():
        limit = found.global_concurrency_limit
        if (actual := limit and limit.limit) != deployed.max_runs:
            raise ValueError(
                f"the limit of {deployed.name} is {actual or 'none'}, not {deployed.max_runs or 'none'}"
            )
    limits = [f"{deployed.name} {deployed.max_runs}" for deployed in known if deployed.max_runs]
    return f"limits: {', '.join(limits)}" if limits else "no flow with a limit is deployed"


def check_alerts(client: "SyncPrefectClient") -> str:
    """Check that alerts are switched on."""
    enabled = {one.name for one in client.read_automations() if one.enabled}
    names = alert_names(client)
    if silent := sorted(names - enabled):
        raise Concern(f"nobody would be alerted by {' and '.join(map(repr, silent))}: not switched on")
    return f"alerts are sent for failed runs and missing nights of {len(names) - 1} places"


def _deployments(client: "SyncPrefectClient") -> "dict[FlowDeployment, DeploymentResponse]":
    """Return those of our deployments that the server has."""
    from prefect.exceptions import ObjectNotFound

    found = {}
    for deployed in DEPLOYMENTS:
        with suppress(ObjectNotFound):
            found[deployed] = client.read_deployment_by_name(deployed.name)
    return found


def _of_prefect(question: Question) -> Examination:
    return lambda runtime: ask(question, runtime.settings.home)


PREFECT_EXAMINATIONS: dict[str, tuple[Examination, str]] = {
    "server": (_of_prefect(check_server), "start it with wordwave up, or check PREFECT_API_URL"),
    "workers": (_of_prefect(check_workers), "run wordwave up, or prefect deploy --all and a worker per pool"),
    "limits": (_of_prefect(check_limits), "deploy again: wordwave up, or prefect deploy --all"),
    "alerts": (
        _of_prefect(check_alerts),
        "create a notification block in the UI, set WORDWAVE_NOTIFICATION_BLOCK to it and run wordwave "
        "automations; if an automation was switched off in the UI, switch it on there",
    ),
}
