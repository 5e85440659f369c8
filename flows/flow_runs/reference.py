"""Find the run that a person names: by our id, by Prefect's id of the flow run, or by its name."""

from collections.abc import Collection
from pathlib import Path
from uuid import UUID

from db.engine import session_scope
from db.runs import RecordedRun, RunNotFound, find_runs, get_run
from flows.flow_runs.own_server import found_by_clients
from flows.forms import is_place
from flows.pipeline.runs.days import DAY
from flows.pipeline.runtime.resources import Runtime

MAX_RUNS_IN_ERROR = 5


def find_run(runtime: Runtime, reference: str) -> UUID:
    """Return our id of a run. Raises RunNotFound, and ValueError if several runs match."""
    ids = _ids(reference, runtime.settings.home)
    with session_scope(runtime.engine) as session:
        found = find_runs(session, ids)
    match [run for run in found if run.id in ids] or found:
        case [run]:
            return run.id
        case []:
            raise RunNotFound(
                f"there is no run {reference}: give an id or a name from a run's page, or the run of a row "
                "of the views"
            )
        case matches:
            raise ValueError(f"{len(matches)} runs are {reference}: give one of {_list_runs(matches)}")


def find_place(runtime: Runtime, reference: str) -> str:
    """Return a folder as it is, or the folder of a run. Raises as find_run does."""
    if is_place(reference):
        return reference
    with session_scope(runtime.engine) as session:
        run = get_run(session, find_run(runtime, reference))
    if "prefix" in run.parameters:
        return str(run.parameters["prefix"]).replace(DAY, str(run.day))
    place = run.partition_key.removeprefix(f"{run.kind} ")
    if not is_place(place):
        raise ValueError(f"run {run.id} ({run.kind}) was about {place}, which is not a folder of clips")
    return place


def _list_runs(runs: Collection[RecordedRun]) -> str:
    return ", ".join([f"{run.id} ({run.kind}, {run.status})" for run in runs][:MAX_RUNS_IN_ERROR])


def _ids(reference: str, home: Path) -> list[UUID]:
    """Return the id itself, or those of the flow runs that have this name."""
    try:
        return [UUID(reference)]
    except ValueError:
        return _flow_runs_named(reference, home)


def _flow_runs_named(name: str, home: Path) -> list[UUID]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName
    from prefect.settings import get_current_settings

    with found_by_clients(home):
        if get_current_settings().api.url is None:
            raise ValueError(
                f"{name!r} is not an id, and only the Prefect server knows names: give the id, start "
                "wordwave up, or set PREFECT_API_URL"
            )
        with get_client(sync_client=True) as client:
            named = FlowRunFilter(name=FlowRunFilterName(any_=[name]))
            return [run.id for run in client.read_flow_runs(flow_run_filter=named)]
