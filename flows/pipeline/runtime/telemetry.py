"""The cost of a run's work: spans for tracing, and figures that the run's row keeps.

Spans cost next to nothing without an exporter. They contain only ids and numbers, no names of clips and no
error messages.
"""

import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from uuid import UUID

from opentelemetry import trace
from opentelemetry.trace import Span, StatusCode

_tracer = trace.get_tracer("wordwave")


class Figures:
    """Counters with a name, a stage and an optional detail. Safe for several threads."""

    def __init__(self, stored: Mapping[str, float] | None = None) -> None:
        self._numbers = defaultdict[str, float](float, stored or {})
        self._adding = Lock()

    def add(self, name: str, stage: str, detail: str = "", number: float = 1) -> None:
        """Add to a figure."""
        with self._adding:
            self._numbers[f"{name}/{stage}/{detail}"] += number

    def add_all(self, stored: Mapping[str, float]) -> None:
        """Add figures that were counted elsewhere."""
        with self._adding:
            for name, number in stored.items():
                self._numbers[name] += number

    def stored(self) -> dict[str, float]:
        """Return the figures as a run's row keeps them: `name/stage/detail` -> number."""
        with self._adding:
            return dict(self._numbers)


@dataclass(frozen=True)
class _Batch:
    run: UUID
    stage: str
    number: int
    figures: Figures

    @property
    def attributes(self) -> dict[str, str | int]:
        return {
            "wordwave.run.id": str(self.run),
            "wordwave.stage": self.stage,
            "wordwave.batch": self.number,
        }


_batch: ContextVar[_Batch | None] = ContextVar("batch", default=None)


def batch_in_hand() -> dict[str, str | int]:
    """Return the run, stage and batch that this thread works on, by their names in logs."""
    batch = _batch.get()
    return {} if batch is None else {"run": str(batch.run), "stage": batch.stage, "batch": batch.number}


@contextmanager
def work_on_batch(run: UUID, stage: str, number: int, figures: Figures) -> Iterator[None]:
    """Trace a batch of a run, and count it or the error it ends with. Steps inside belong to it."""
    batch = _Batch(run, stage, number, figures)
    token = _batch.set(batch)
    try:
        with _span(stage, batch.attributes):
            yield
        figures.add("batches", stage)
    except Exception as error:
        figures.add("errors", stage, type(error).__name__)
        release_frames(error)
        raise
    finally:
        _batch.reset(token)


@contextmanager
def timed(name: str) -> Iterator[None]:
    """Trace a step of this thread's batch, and add its seconds to the figures of the run."""
    batch, begun = _batch.get(), monotonic()
    try:
        with _span(name, batch.attributes if batch else {}):
            yield
    finally:
        if batch:
            batch.figures.add("seconds", batch.stage, name, monotonic() - begun)


def add_audio(seconds: float) -> None:
    """Add seconds of audio to the figures of the run of this thread's batch."""
    if batch := _batch.get():
        batch.figures.add("audio_seconds", batch.stage, number=seconds)


@contextmanager
def _span(name: str, attributes: Mapping[str, str | int]) -> Iterator[Span]:
    """Open a span that records the type of an error, but not its message, which may contain keys."""
    with _tracer.start_as_current_span(
        name, attributes=attributes, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            span.set_status(StatusCode.ERROR, type(error).__name__)
            raise


def release_frames(error: BaseException) -> None:
    """Clear the frames of an error, since one that is kept until a retry keeps its waveforms too."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting:
        one = waiting.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            traceback.clear_frames(one.__traceback__)
            waiting += [one.__cause__, one.__context__]
