"""A run that speaks, in a process of its own, which tells how far it is and can be killed at any moment."""

import multiprocessing
import os
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from typing import Any

# What takes seconds to import is loaded by the server of forked processes, once for all of them.
import core.codec
import core.in_context.audio_generator  # noqa: F401
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation import generate
from flows.pipeline.generation.job import run_texts
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.generation.texts import given_texts
from flows.pipeline.nights.jobs import Batches, Step
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.nights import Night
from tests.e2e.world import World

REQUEST = AudioRequest("spoken", seconds=0.24, temperature=1.0)
TEXTS = tuple(f"text {number}" for number in range(11))
BATCH = 4


def run(settings: Mapping[str, Any], environment: Mapping[str, str], progress: Connection) -> None:
    """Says the texts, and tells at its start and after every batch."""
    os.environ.update(environment)
    generate.BATCH_SIZE = BATCH

    def each(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
        for batch in batches:
            yield step(batch)
            progress.send(stage)

    runtime = Runtime(Settings(**settings))
    progress.send("start")
    try:
        run_texts(runtime, "speech", REQUEST, given_texts(TEXTS), each)
    finally:
        runtime.close()


def start(world: World, llm: str) -> Night:
    """A process that says the texts in a world."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    receiver, sender = context.Pipe(duplex=False)
    settings = world.settings.model_dump() | {"generation_llm": llm}
    process = context.Process(target=run, args=(settings, dict(os.environ), sender))
    process.start()
    sender.close()
    return Night(process, receiver)
