"""A night in a process of its own, which tells how far it is and can be killed at any moment."""

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

# What takes seconds to import is loaded by the server of forked processes, once for all of them.
import core.codec
import core.in_context.labelers  # noqa: F401
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.nights.jobs import Batches, Step, run_night
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime


@dataclass(frozen=True)
class Job:
    """What a process is given; all of it can be pickled."""

    settings: Mapping[str, Any]
    environment: Mapping[str, str]
    scratch: Path
    place: str
    library: str
    kind: str


def run(job: Job, progress: Connection) -> None:
    """Works through the night and says so at its start and after every batch."""
    os.environ.update(job.environment)
    tempfile.tempdir = str(job.scratch)

    def each(stage: str, step: Step, batches: Batches) -> Iterable[Counts]:
        for batch in batches:
            yield step(batch)
            progress.send(stage)

    runtime = Runtime(Settings(**job.settings))
    progress.send("start")
    try:
        run_night(
            runtime, partition_of(job.place), LabelRequest(job.library), each, kind=job.kind, export=True
        )
    finally:
        runtime.close()
