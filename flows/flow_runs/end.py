"""The end of a run: a line in its state if it completed, or a page of what it had done."""

from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import ArtifactCreate
from prefect.client.schemas.objects import FlowRun, State
from prefect.states import Completed

from db.engine import make_engine, session_scope
from db.runs import RecordedRun, find_runs
from flows.artifacts.markdown import escape
from flows.artifacts.pages import FlowRunRef, count_page, has_page
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runs.counts import sentence
from flows.pipeline.runtime.database import writer_url

Outcome = TypeVar("Outcome")
ENDS = {"FAILED": "failed", "CRASHED": "crashed", "CANCELLING": "was cancelled", "CANCELLED": "was cancelled"}


class NamedFlow(Protocol):
    """Anything that has the name of a flow."""

    name: str


def completed(outcome: Outcome, line: str) -> Outcome:
    """Return a state that sums the run up in a line. Prefect gives the outcome to the caller of the flow."""
    return cast(Outcome, Completed(message=line, data=outcome))


def completed_with_counts(outcome: Outcome, counts: Mapping[str, int]) -> Outcome:
    """Return a state that sums the counts up in a line."""
    return completed(outcome, sentence(counts) or "nothing was left to do")


def leave_page(flow: NamedFlow, flow_run: FlowRun, state: State[Any]) -> None:
    """Publish a page of what a run had done, as a hook of one that failed, crashed or was cancelled.

    The run's own process may be gone, so the page shows what the database knows.
    """
    if has_page(str(flow_run.id), flow.name):
        return
    page = _page(flow.name, flow_run, state)
    key = f"{flow.name}-summary"
    with get_client(sync_client=True) as client:
        client.create_artifact(
            ArtifactCreate(
                type="markdown",
                key=key,
                description=escape(flow_run.name),
                data=page,
                flow_run_id=flow_run.id,
            )
        )


def _page(flow: str, flow_run: FlowRun, state: State[Any]) -> str:
    reason = state.message or state.name or ""
    ended = f"This run {ENDS.get(state.type.value, 'ended')}: {escape(reason)}"
    ref = FlowRunRef(str(flow_run.id), flow_run.name)
    runs = _runs(flow_run.id)
    if not runs:
        return "\n\n".join(
            [f"## {flow}", f"Flow run {ref}", ended, "It had not started to work: no run is recorded."]
        )
    kept = "The finished work is kept. Retry the run, or start the same one again: only the rest is done."
    return "\n\n".join(
        count_page(one.partition_key.removeprefix(f"{one.kind} "), one.id, ref, one.counts, [ended, "", kept])
        for one in runs
    )


def _runs(flow_run_id: UUID) -> list[RecordedRun]:
    """Return the recorded runs of a flow run, on a new connection: the flow's own may be broken."""
    engine = make_engine(writer_url(Settings()), "wordwave run page")
    try:
        with session_scope(engine) as session:
            return find_runs(session, [flow_run_id])
    finally:
        engine.dispose()
