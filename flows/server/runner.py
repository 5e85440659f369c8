"""Serve flows until SIGINT or SIGTERM, then shut down cleanly."""

import asyncio
import signal
from collections.abc import Iterable
from contextlib import suppress
from types import FrameType
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterId,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import State, StateType
from prefect.runner import Runner
from prefect.states import Cancelled
from sqlalchemy.exc import SQLAlchemyError

from flows.flow_runs.end import leave_page

if TYPE_CHECKING:
    from prefect.deployments.runner import RunnerDeployment

UNDER_WAY = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
ENDED = "wordwave up ended while this ran; the next run of the same request takes its work up"
MARKING_SECONDS = 20.0


class InterruptibleRunner(Runner):
    """A runner that shuts down cleanly on SIGINT and SIGTERM, from the start.

    Prefect's own raises an exception in whatever the main thread is doing, which may swallow it or report it
    as an error: an import, a destructor, a callback of the event loop.
    """

    def __init__(self, name: str, **options: Any) -> None:
        super().__init__(name=name, **options)
        self._offered: list[UUID] = []

    def offer(self, deployments: "Iterable[RunnerDeployment]") -> list[UUID]:
        """Update deployments at the server, and run them from now on when they are due."""
        offered = [cast(UUID, self.add_deployment(deployment)) for deployment in deployments]
        self._offered.extend(offered)
        return offered

    async def serve(self) -> None:
        """Run what is due until a signal comes, then end running flows and mark them."""
        serving = asyncio.create_task(self.start())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving
        with suppress(TimeoutError, httpx.HTTPError):
            async with asyncio.timeout(MARKING_SECONDS):
                await _mark_ended(self._offered)

    def handle_sigterm(self, signum: int, frame: FrameType | None) -> None:
        """Do nothing: Python also wakes the event loop, which cancels."""


async def _mark_ended(deployments: list[UUID]) -> None:
    """Mark the unfinished runs of our deployments as cancelled, since their processes are gone."""
    state = FlowRunFilterState(type=FlowRunFilterStateType(any_=UNDER_WAY))
    ours = DeploymentFilter(id=DeploymentFilterId(any_=deployments))
    async with get_client() as client:
        for run in await client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=state), deployment_filter=ours
        ):
            ended: State[None] = Cancelled(message=ENDED)
            await client.set_flow_run_state(run.id, ended)
            with suppress(SQLAlchemyError):
                await asyncio.to_thread(leave_page, await client.read_flow(run.flow_id), run, ended)
