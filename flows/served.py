"""What the doctor asks of Prefect: is there a server, and are the flows served as they should be?"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from typing import TYPE_CHECKING

from flows.deployments import DEPLOYED, Deployed

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient
    from prefect.client.schemas.responses import DeploymentResponse

NO_SERVER = "no server is named by PREFECT_API_URL: flows run where they are called"


def check_server() -> str:
    """The server answers, and is of the version that this process talks."""
    with _client() as client:
        if client is None:
            return NO_SERVER
        if (found := client.api_version()) != (here := version("prefect")):
            raise ValueError(f"the server is Prefect {found}, this process has {here}")
        return f"Prefect {here} at {client.api_url}"


def check_workers() -> str:
    """Every flow has a deployment that somebody works for."""
    with _client() as client:
        if client is None:
            return NO_SERVER
        known = _deployments(client)
    if missing := [deployed.name for deployed in DEPLOYED if deployed not in known]:
        raise ValueError(
            f"{len(missing)} of {len(DEPLOYED)} flows are not deployed: {', '.join(missing[:3])}"
        )
    idle = [deployed.name for deployed, found in known.items() if found.status != "READY"]
    if idle:
        raise ValueError(f"nobody works for {len(idle)} of {len(DEPLOYED)} flows: {', '.join(idle[:3])}")
    return f"{len(known)} flows are deployed, and somebody works for each"


def check_limits() -> str:
    """As many runs at once as the list of deployments says."""
    with _client() as client:
        if client is None:
            return NO_SERVER
        known = _deployments(client)
    for deployed, found in known.items():
        limit = found.global_concurrency_limit
        if (at_once := limit and limit.limit) != deployed.at_once:
            said, wanted = at_once or "no limit", deployed.at_once or "no limit"
            raise ValueError(f"{deployed.name} has {said} at once where {wanted} is meant")
    held = [f"{deployed.name} {deployed.at_once}" for deployed in known if deployed.at_once]
    return f"at once: {', '.join(held)}" if held else "no flow with a limit is deployed"


@contextmanager
def _client() -> "Iterator[SyncPrefectClient | None]":
    """A client of the server that is named; None where none is, since Prefect would start one for us."""
    from prefect.client.orchestration import get_client
    from prefect.settings import get_current_settings

    if get_current_settings().api.url is None:
        yield None
        return
    with get_client(sync_client=True) as client:
        yield client


def _deployments(client: "SyncPrefectClient") -> "dict[Deployed, DeploymentResponse]":
    """Those of our deployments that the server has."""
    from prefect.exceptions import ObjectNotFound

    found = {}
    for deployed in DEPLOYED:
        with suppress(ObjectNotFound):
            found[deployed] = client.read_deployment_by_name(deployed.name)
    return found
