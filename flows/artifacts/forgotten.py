"""What Prefect keeps, without what was forgotten: artifacts, and the parameters and names of flow runs.

Prefect's logs, events and task runs have no API to change them; what they say is out of reach.
"""

import json
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import ArtifactUpdate
from prefect.settings import PREFECT_API_URL

from db.forgetting import HIDDEN, hidden
from flows.artifacts.markdown import cell, code, escape
from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.runs.counts import Counts

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact, FlowRun

PAGE_SIZE = 200
Thing = TypeVar("Thing")


def hide_in_prefect(names: Names, dry_run: bool) -> Counts:
    """Take names out of what the server keeps, if one is at hand; with `dry_run`, only count."""
    if PREFECT_API_URL.value() is None or not names.texts:
        return Counts()
    shown = _as_shown(names)
    with get_client(sync_client=True) as client:
        artifacts = [one for one in _pages(client.read_artifacts) if _is_naming_artifact(one, shown)]
        flow_runs = [one for one in _pages(client.read_flow_runs) if _is_naming_run(one, shown)]
        if not dry_run:
            for artifact in artifacts:
                _hide_in_artifact(client, artifact, shown)
            for flow_run in flow_runs:
                _hide_in_flow_run(client, flow_run, shown)
    found = {"artifacts": len(artifacts), "flow_runs": len(flow_runs)}
    return Counts({kind: number for kind, number in found.items() if number})


def _as_shown(names: Names) -> Names:
    """Return the names with the forms that addresses have in markdown, in cells of tables and in code."""
    return Names(
        names.contents, names.uris | {form(uri) for uri in names.uris for form in (escape, cell, code)}
    )


def _pages(read: Callable[..., list[Thing]]) -> Iterator[Thing]:
    """Yield everything that the server has, page by page."""
    offset = 0
    while page := read(limit=PAGE_SIZE, offset=offset):
        yield from page
        offset += len(page)


def _names(value: Any, names: Names) -> bool:
    """Return whether a text or a JSON value names something."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return names.are_in(text.encode(errors="surrogateescape"))


def _is_naming_artifact(artifact: "Artifact", names: Names) -> bool:
    return _names(artifact.data, names) or _names(artifact.description, names)


def _is_naming_run(flow_run: "FlowRun", names: Names) -> bool:
    told = flow_run.state.message if flow_run.state else None
    return any(_names(value, names) for value in (flow_run.parameters, flow_run.name, told))


def _hide_in_artifact(client: SyncPrefectClient, artifact: "Artifact", names: Names) -> None:
    """Leave the lines and the rows that name nothing."""
    update = ArtifactUpdate(data=_left(artifact.data, names))
    if artifact.description and _names(artifact.description, names):
        update = ArtifactUpdate(data=update.data, description=HIDDEN)
    client.update_artifact(artifact.id, update)


def _left(data: Any, names: Names) -> Any:
    if not isinstance(data, str):
        return data
    try:
        table = json.loads(data)
    except ValueError:
        return "\n".join(line for line in data.split("\n") if not _names(line, names))
    if isinstance(table, list):
        return json.dumps([row for row in table if not _names(row, names)])
    return HIDDEN if _names(data, names) else data


def _hide_in_flow_run(client: SyncPrefectClient, flow_run: "FlowRun", names: Names) -> None:
    """Take names out of parameters and name. A state's message cannot be changed: such a flow run goes."""
    if flow_run.state and _names(flow_run.state.message or "", names) and flow_run.state.is_final():
        client.delete_flow_run(flow_run.id)
        return
    name = HIDDEN if _names(flow_run.name, names) else flow_run.name
    parameters = hidden(flow_run.parameters, lambda text: _names(text, names))
    client.update_flow_run(flow_run.id, parameters=parameters, name=name)
