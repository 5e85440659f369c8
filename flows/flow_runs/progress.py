"""Progress of a stage: lines in the log, and an artifact that moves while the stage runs."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from time import monotonic
from typing import cast
from uuid import UUID

import httpx
from prefect.artifacts import create_progress_artifact, update_progress_artifact
from prefect.exceptions import PrefectException
from prefect.logging import get_run_logger

from flows.pipeline.runs.counts import Counts, sentence

LOG_SECONDS, ARTIFACT_SECONDS = 10.0, 5.0
"""Least time between two lines, and between two updates of the artifact."""
LOGGED_PARTS = 10
UNITS = {"ask": "questions", "generate": "answers"}
"""Names of the parts of a batch in stages that do not work on clips."""


class Progress:
    """A running stage. If the server cannot be reached, an update is lost, and the stage goes on."""

    def __init__(self, stage: str, clips: int, batches: int, clock: Callable[[], float] = monotonic) -> None:
        self._stage, self._clips, self._batches, self._clock = stage, clips, batches, clock
        self._done = self._batches_done = self._logged_part = 0
        self._counts = Counts()
        self._began = self._logged = self._shown = clock()
        self._artifact: UUID | None = None
        self._unit = UNITS.get(stage, "clips")
        if batches > 1:
            get_run_logger().info(self._line())
            with suppress(httpx.HTTPError, PrefectException):
                created = create_progress_artifact(0.0, f"{stage}-progress", self._line())
                self._artifact = cast(UUID, created)  # a coroutine only where it is awaited

    def add(self, clips: int, counts: Mapping[str, int]) -> None:
        """Count a finished batch."""
        self._done, self._batches_done = self._done + clips, self._batches_done + 1
        self._counts.update(counts)
        now, part = self._clock(), self._done * LOGGED_PARTS // self._clips
        if self._done < self._clips and part > self._logged_part and now - self._logged >= LOG_SECONDS:
            self._logged, self._logged_part = now, part
            get_run_logger().info(self._line())
        if self._artifact and now - self._shown >= ARTIFACT_SECONDS:
            self._shown = now
            self._show()

    def end(self) -> None:
        """Log the result of the stage, even if some of its batches failed."""
        counts = sentence(self._counts) or "nothing done"
        get_run_logger().info("%s: %s in %s", self._stage, counts, duration(self._clock() - self._began))
        if self._artifact:
            self._show()

    def _show(self) -> None:
        assert self._artifact
        with suppress(httpx.HTTPError, PrefectException):
            update_progress_artifact(self._artifact, 100 * self._done / self._clips, self._line())

    def _line(self) -> str:
        far = f"{self._stage}: {self._done:,} of {self._clips:,} {self._unit}"
        batches = f"{self._batches_done:,} of {self._batches:,} batches"
        if not self._done:
            return f"{far}, {batches}"
        pace = self._done / max(self._clock() - self._began, 1e-3)
        left = (self._clips - self._done) / pace
        return f"{far}, {batches}, {pace:.3g} {self._unit} a second, {duration(left)} left"


def duration(seconds: float) -> str:
    """Return a time as people say it."""
    if seconds < 90:
        return f"{seconds:.0f} seconds"
    return f"{seconds / 60:.0f} minutes" if seconds < 5400 else f"{seconds / 3600:.1f} hours"
