"""A night on a cluster of Ray: each actor gets the next batch as soon as it is free.

Ray starts the actors, starts lost ones again and moves them to other nodes. Which batches are waiting is kept
here: Ray would give the batches of a lost node to the actor that had them, and that one may wait for another
node for ever. The ledger makes it safe to do a batch again.
"""

import logging
import math
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from flows.pipeline.clips.tokenize_clips import batches_to_tokenize
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.nights.jobs import Batches, Distribute, ShardsFailed
from flows.pipeline.nights.ray_worker import BatchWorker, SharedNight
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.partition import Partition
from flows.pipeline.runs.run import OpenRun
from flows.pipeline.runtime.resources import BATCHES_AT_ONCE

logger = logging.getLogger(__name__)

LOCAL = "local"
TRIES = 3
"""How many actors may be lost over one batch."""
PATIENCE_SECONDS = 60.0
"""Time without an answer after which the log says that the night waits."""
OBJECT_STORE_BYTES = 100 * 2**20
"""Enough for a cluster of this machine alone: batches are ids, and results are counts."""
Done = tuple[Counts, Mapping[str, float]]


def on_ray(settings: Settings) -> Distribute | None:
    """Return a function that has the cluster of the settings work on a night, None if no cluster is set."""
    if settings.ray is None:
        return None

    def distribute(partition: Partition, labelings: Labelings, run: OpenRun) -> None:
        runtime, models, patiently = labelings.runtime, labelings.models, run.breaker.run
        selection = patiently(lambda: partition.selection(runtime))

        def unlabeled() -> Batches:
            return patiently(lambda: labelings.batches(selection))

        unread = patiently(lambda: batches_to_tokenize(runtime, selection, settings.batch_size, *models))
        if unread or unlabeled():
            with open_cluster(settings) as ray:
                actors = _Actors(ray, settings, SharedNight.of(labelings, partition.place, run.claim))
                _count(run, "tokenize", actors.work("tokenize", unread))
                _count(run, "label", actors.work("label", unlabeled()))

    return distribute


def describe_cluster(settings: Settings) -> str:
    """Return what a night would start on the cluster of the settings. Raises what the night would raise."""
    with open_cluster(settings) as ray:
        count, resources = _actors_of(ray, settings.ray_actors)
        each = " and ".join(f"{number:g} {name[4:].upper()}" for name, number in resources.items())
        return f"Ray {ray.__version__} at {settings.ray}: nights get {count} actors with {each} each"


def _count(run: OpenRun, stage: str, done: Iterator[Done]) -> None:
    """Count batches as they end, while the run holds its partition."""
    for counts, figures in done:
        run.lock.check()
        run.figures.add_all(figures)
        run.count(stage, counts)


@contextmanager
def open_cluster(settings: Settings) -> Iterator[Any]:
    """Connect to the cluster, or start one on this machine. Its actors end with the block.

    Raises ShardsFailed if there is none, and ImportError with a remedy if Ray is not installed.
    """
    try:
        import ray
    except ImportError as error:
        raise ImportError("WORDWAVE_RAY is set, and Ray is missing: pip install 'wordwave[ray]'") from error
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster that is started here tells nobody
    own = {"object_store_memory": OBJECT_STORE_BYTES} if settings.ray == LOCAL else {}
    with _own_sigterm():
        try:
            ray.init(settings.ray, configure_logging=False, log_to_driver=False, **own)
        except ConnectionError as error:
            raise ShardsFailed(f"no Ray cluster answers at WORDWAVE_RAY={settings.ray}: {error}") from error
    try:
        yield ray
    finally:
        ray.shutdown()


@contextmanager
def _own_sigterm() -> Iterator[None]:
    """Keep this process's handler of SIGTERM, which connecting to Ray replaces."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, handler)


@dataclass
class _WaitingBatch:
    """A batch and how often its actor was lost. `clips` are ids."""

    number: int
    clips: Sequence[object]
    losses: int = 0


@dataclass
class _Actors:
    """The actors of a night, started at its first batch. Each is in `free` once a batch that it may take."""

    ray: Any
    settings: Settings
    night: SharedNight
    free: deque[Any] = field(default_factory=deque)
    starting: dict[Any, Any] = field(default_factory=dict)
    started: bool = False

    def work(self, stage: str, batches: Batches) -> Iterator[Done]:
        """Hand out the batches of a stage as actors get free, and yield what each did.

        Raises what a batch raised, and ShardsFailed for one over which several actors were lost.
        """
        waiting = deque(_WaitingBatch(number, batch) for number, batch in enumerate(batches, start=1))
        under_way: dict[Any, tuple[Any, _WaitingBatch]] = {}
        if waiting and not self.started:
            self._start()
        while waiting or under_way:
            while waiting and self.free:
                actor, batch = self.free.popleft(), waiting.popleft()
                under_way[actor.work.remote(stage, batch.number, batch.clips)] = actor, batch
            for ended in self._wait([*under_way, *self.starting], stage):
                if ended in self.starting:
                    self._welcome(ended)
                    continue
                actor, batch = under_way.pop(ended)
                if (done := self._result(ended)) is None:
                    self._lose(actor, stage, batch)
                    waiting.appendleft(batch)
                else:
                    self.free.append(actor)
                    yield done

    def _start(self) -> None:
        count, resources = _actors_of(self.ray, self.settings.ray_actors)
        actor_class = self.ray.remote(BatchWorker).options(
            **resources,
            max_restarts=-1,
            max_concurrency=BATCHES_AT_ONCE,
            scheduling_strategy="SPREAD",
        )
        for _ in range(count):
            self._await(actor_class.remote(self.night))
        self.started = True
        logger.info("Ray starts %d actors with %s each", count, resources)

    def _await(self, actor: Any) -> None:
        ready = actor.is_ready.options(max_task_retries=-1).remote()  # however often it is started again
        self.starting[ready] = actor

    def _welcome(self, ready: Any) -> None:
        """Take an actor whose models are loaded. Raises ShardsFailed if they cannot be."""
        actor = self.starting.pop(ready)
        try:
            self.ray.get(ready)
        except self.ray.exceptions.RayError as error:
            raise ShardsFailed(f"an actor of Ray did not start: {error}") from error
        self.free.extend([actor] * BATCHES_AT_ONCE)

    def _wait(self, refs: Sequence[Any], stage: str) -> list[Any]:
        ended, _ = self.ray.wait(refs, timeout=PATIENCE_SECONDS)
        if not ended:
            logger.warning(
                "%s: no batch ended for %.0f seconds; %d actors wait for a node with free resources or load "
                "their models (ray status)",
                stage,
                PATIENCE_SECONDS,
                len(self.starting),
            )
        return list(ended)

    def _result(self, ended: Any) -> Done | None:
        """Return what a batch did, None if its actor or node was lost. Raises what the batch raised."""
        try:
            done: Done = self.ray.get(ended)
        except self.ray.exceptions.RayTaskError as error:
            raise error.cause from None
        except self.ray.exceptions.RayError:
            return None
        return done

    def _lose(self, actor: Any, stage: str, batch: _WaitingBatch) -> None:
        """Wait for Ray to start the actor again. Raises ShardsFailed if the batch cost too many already."""
        batch.losses += 1
        if batch.losses == TRIES:
            raise ShardsFailed(
                f"{stage} batch {batch.number}: {TRIES} actors of Ray were lost over it. The work of the "
                "others is kept; run the night again to do the rest, with more memory on a node or a "
                "smaller WORDWAVE_BATCH_SIZE"
            )
        logger.warning("%s batch %d: its actor was lost, another does it", stage, batch.number)
        self.free = deque(one for one in self.free if one is not actor)
        if actor not in self.starting.values():
            self._await(actor)


def _actors_of(ray: Any, wanted: int | None) -> tuple[int, dict[str, float]]:
    """Return how many actors to start and what each takes: one a GPU, else one a node, unless told.

    Raises ShardsFailed for a cluster without a CPU.
    """
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total: Counter[str] = sum(map(Counter, nodes), Counter())
    if gpus := int(total["GPU"]):
        count = wanted or gpus
        return count, {"num_cpus": 1, "num_gpus": 1 / math.ceil(count / gpus)}
    with_cpus = [node["CPU"] for node in nodes if node.get("CPU")]
    if not with_cpus:
        raise ShardsFailed("the Ray cluster has no node with a CPU: start one, or unset WORDWAVE_RAY")
    count = wanted or len(with_cpus)
    return count, {"num_cpus": _most_cpus(with_cpus, count)}


def _most_cpus(nodes: Sequence[float], actors: int) -> int:
    """Return the most CPUs that so many actors can each have, or 1: none of them is on two nodes."""
    each = range(int(max(nodes)), 1, -1)
    return next((cpus for cpus in each if sum(node // cpus for node in nodes) >= actors), 1)
