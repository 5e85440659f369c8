"""Sharding of a night: each shard is a run of label-shard, watched until it ends and restarted if it dies.

Prefect's work pool is the queue. A night that is restarted finds the shards that it had started before.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, cast

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.exceptions import ObjectNotFound
from prefect.logging import get_run_logger
from prefect.states import Cancelling

from db.engine import session_scope
from db.runs import shard_counts
from flows.deployments import DEPLOYMENT_NAME
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.jobs import SHARD, Distribute, ShardsFailed
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.run import OpenRun

LABEL_SHARD = f"{SHARD}/{DEPLOYMENT_NAME}"
TRIES = 2
POLL_SECONDS = 2.0


@dataclass
class _Shard:
    """A running shard: its parameters, and the flow run that works on it now."""

    parameters: Mapping[str, Any]
    flow_run: FlowRun | None = None
    number: int = 0
    tries: int = 0

    @property
    def name(self) -> str:
        return f"shard {self.parameters['shard']} of {self.parameters['shards']}"

    @property
    def state(self) -> State[Any]:
        assert self.flow_run
        assert self.flow_run.state
        return self.flow_run.state

    @property
    def may_start_again(self) -> bool:
        """Return whether the shard died. One that a person cancelled did not."""
        return (self.state.is_crashed() or self.state.is_failed()) and self.tries < TRIES

    def start(self) -> None:
        """Start a run, or join one that the night started before it was restarted itself."""
        self.tries += 1
        while self.flow_run is None or (self.state.is_final() and not self.state.is_completed()):
            self.number += 1
            started = run_deployment(
                LABEL_SHARD,
                parameters=dict(self.parameters),
                timeout=0,
                idempotency_key=f"{self.parameters['night']} {self.name} {self.number}",
            )
            self.flow_run = cast(FlowRun, started)  # a coroutine only where it is awaited


def in_shards(shards: int, prefix: str, timezone: str) -> Distribute:
    """Return a function that splits a night into shards. It raises ShardsFailed if a shard failed twice."""

    def distribute(partition: Partition, labelings: Labelings, run: OpenRun) -> None:
        parameters = asdict(labelings.request) | {
            "library": labelings.name,  # whatever is imported meanwhile
            "night": str(run.id),
            "prefix": prefix,
            "day": str(partition.day or "any"),
            "timezone": timezone,
            "shards": shards,
        }
        _finish([_Shard(parameters | {"shard": number}) for number in range(1, shards + 1)])
        with session_scope(labelings.runtime.engine) as session:
            run.shard_counts = shard_counts(session, run.id)

    return distribute


def _finish(shards: Sequence[_Shard]) -> None:
    with get_client(sync_client=True) as client:
        try:
            _run(client, shards)
        except ObjectNotFound as error:
            raise ShardsFailed(
                f"there is no deployment {LABEL_SHARD}: start wordwave up, or set shards to 1"
            ) from error
    if failed := [
        f"{shard.name}: {shard.state.message}" for shard in shards if not shard.state.is_completed()
    ]:
        raise ShardsFailed(
            f"{len(failed)} of {len(shards)} shards failed; the work of the others is kept. "
            f"{'; '.join(failed)}. Run the night again to do the rest"
        )


def _run(client: SyncPrefectClient, shards: Sequence[_Shard]) -> None:
    """Start all shards and wait for them, even if some fail. Cancelling the night cancels its shards."""
    try:
        for shard in shards:
            shard.start()
        waiting = list(shards)
        while waiting := [shard for shard in waiting if _is_under_way(client, shard)]:
            time.sleep(POLL_SECONDS)
    except BaseException:
        for shard in shards:
            if shard.flow_run and not shard.state.is_final():
                client.set_flow_run_state(shard.flow_run.id, Cancelling())
        raise


def _is_under_way(client: SyncPrefectClient, shard: _Shard) -> bool:
    assert shard.flow_run
    before, shard.flow_run = shard.state.name, client.read_flow_run(shard.flow_run.id)
    if shard.state.name != before:
        _tell(shard)
    if shard.may_start_again:
        get_run_logger().warning("restarting %s: %s", shard.name, shard.state.message)
        shard.start()
    return not shard.state.is_final()


def _tell(shard: _Shard) -> None:
    get_run_logger().info("%s: %s", shard.name, shard.state.name)
    if shard.state.name == "Late":
        get_run_logger().warning("no worker picks up %s: does its work pool have a free slot?", shard.name)
