"""Metrics of all runs for Prometheus and OpenTelemetry, read from the tables at each request.

Each run is a process of its own, which has ended before anybody could scrape it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import inf
from threading import Lock, Thread
from time import monotonic
from typing import Literal

from opentelemetry.metrics import CallbackOptions, Observation, get_meter
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from db.engine import make_engine, session_scope
from db.figures import FigureRow, read_figures
from flows.pipeline.runtime.otlp import send_metrics

LOOPBACK = "127.0.0.1"
DATABASE_UP = "wordwave_database_up"
FRESH_SECONDS = 5.0


@dataclass(frozen=True)
class Family:
    """The name, kind and labels under which a figure of the tables is exported."""

    name: str
    kind: Literal["counter", "gauge"]
    help: str
    labels: Mapping[str, str]
    """Name of the label -> field of the figure."""

    def values(self, figure: FigureRow) -> list[str]:
        return [getattr(figure, field) for field in self.labels.values()]

    def metric(self, figures: Iterable[FigureRow]) -> Metric:
        """Return the family with its samples, as Prometheus takes them."""
        made = CounterMetricFamily if self.kind == "counter" else GaugeMetricFamily
        family = made(self.name, self.help, labels=list(self.labels))
        for figure in figures:
            family.add_metric(self.values(figure), figure.value)
        return family


_OF_RUN = {"flow": "kind", "stage": "stage"}
FAMILIES = {
    "clips": Family(
        "wordwave_clips",
        "counter",
        "Clips that a stage dealt with, by outcome (texts and rows where a stage has no clips)",
        _OF_RUN | {"outcome": "detail"},
    ),
    "audio_seconds": Family("wordwave_audio_seconds", "counter", "Seconds of audio that were made", _OF_RUN),
    "batches": Family("wordwave_batches", "counter", "Batches that a stage completed", _OF_RUN),
    "seconds": Family(
        "wordwave_step_seconds",
        "counter",
        "Seconds that steps took; encode, label and generate are those of the models",
        _OF_RUN | {"step": "detail"},
    ),
    "errors": Family(
        "wordwave_errors", "counter", "Batches that raised, each try of them", _OF_RUN | {"error": "detail"}
    ),
    "runs": Family("wordwave_runs", "gauge", "Runs by status", {"flow": "kind", "status": "detail"}),
    "runs_last_day": Family(
        "wordwave_runs_last_day",
        "gauge",
        "Runs that ended within the last 24 hours, by status",
        {"flow": "kind", "status": "detail"},
    ),
    "last_completed": Family(
        "wordwave_last_completed_timestamp_seconds", "gauge", "When a run last completed", {"flow": "kind"}
    ),
    "quarantined_clips": Family(
        "wordwave_quarantined_clips",
        "gauge",
        "Clips that are set aside now",
        {"stage": "stage", "reason": "detail"},
    ),
    "waiting_clips": Family(
        "wordwave_waiting_clips", "gauge", "Listed clips that were neither read nor set aside", {}
    ),
}


class RunFigures(Collector):
    """The figures of a database. While it is away, there is one sample, which says so."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._reading = Lock()
        self._read: Sequence[FigureRow] | None = None
        self._read_at = -inf

    def collect(self) -> Iterator[Metric]:
        """Read the figures and yield a family for each."""
        figures = self.read()
        yield GaugeMetricFamily(DATABASE_UP, "Whether the figures could be read", value=figures is not None)
        for name, family in FAMILIES.items():
            yield family.metric(figure for figure in figures or () if figure.name == name)

    def read(self) -> Sequence[FigureRow] | None:
        """Return the figures as of a few seconds ago at most, or None if the database is away.

        Concurrent callers wait for the same query, so that a slow database answers one at a time.
        """
        with self._reading:
            if monotonic() - self._read_at > FRESH_SECONDS:
                self._read = self._ask()
                self._read_at = monotonic()
            return self._read

    def _ask(self) -> Sequence[FigureRow] | None:
        try:
            with session_scope(self._engine) as session:
                return read_figures(session)
        except SQLAlchemyError:
            return None

    def observe(self, name: str, _options: CallbackOptions) -> Iterator[Observation]:
        """Yield the samples of a family as OpenTelemetry takes them."""
        family = FAMILIES[name]
        for figure in self.read() or ():
            if figure.name == name:
                values = zip(family.labels, family.values(figure), strict=True)
                yield Observation(figure.value, dict(values))


@contextmanager
def exporter(database: str, port: int, host: str = LOOPBACK) -> Iterator[Thread]:
    """Serve /metrics in a thread until the block ends, and send the same figures if OTEL_* says so."""
    engine = make_engine(database, "wordwave metrics").execution_options(postgresql_readonly=True)
    figures, registry = RunFigures(engine), CollectorRegistry()
    registry.register(figures)
    _observe_all(figures)
    try:
        server, thread = start_http_server(port, host, registry)
    except OSError as error:
        raise OSError(
            f"metrics cannot be served on port {port} of {host} ({error.strerror}): choose another port"
        ) from error
    try:
        yield thread
    finally:
        server.shutdown()
        server.server_close()
        engine.dispose()


def _observe_all(figures: RunFigures) -> None:
    send_metrics()
    meter = get_meter("wordwave")
    for name, family in FAMILIES.items():
        of_kind = {
            "counter": meter.create_observable_counter,
            "gauge": meter.create_observable_gauge,
        }[family.kind]
        of_kind(family.name, [partial(figures.observe, name)], description=family.help)
