"""Spans and metrics reach a collector where OTEL_* says so, and otherwise nothing is loaded."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from flows.pipeline.runtime import otlp
from tests.fixtures_postgres import Database

LOADED = """
import sys
from uuid import uuid4
from flows.pipeline.runtime.exporter import exporter
from flows.pipeline.runtime.otlp import send_traces
from flows.pipeline.runtime.telemetry import Figures, timed, work_on_batch
send_traces()
with exporter(sys.argv[1], 0):
    with work_on_batch(uuid4(), "tokenize", 1, Figures()), timed("encode"):
        pass
print(*(name for name in ("opentelemetry.sdk", "opentelemetry.exporter.otlp") if name in sys.modules))
"""


class Collector(ThreadingHTTPServer):
    """What an OpenTelemetry collector is sent: path and body of each request."""

    def __init__(self) -> None:
        self.sent: list[tuple[str, bytes]] = []
        super().__init__(("127.0.0.1", 0), _Handler)


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        assert isinstance(self.server, Collector)
        self.server.sent.append((self.path, self.rfile.read(int(self.headers["Content-Length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@contextmanager
def collecting() -> Iterator[Collector]:
    with Collector() as collector:
        Thread(target=collector.serve_forever, daemon=True).start()
        yield collector
        collector.shutdown()


def run(database: Database, **environment: str) -> str:
    """What a process that works on a batch has loaded."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    command = [sys.executable, "-c", LOADED, database.url("analyst")]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_nothing_is_loaded_unasked(database: Database) -> None:
    assert run(database) == ""
    assert run(database, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="") == ""


def test_a_collector_is_sent_spans_and_metrics(database: Database, tmp_path: Path) -> None:
    with collecting() as collector:
        address = f"http://127.0.0.1:{collector.server_port}"
        loaded = run(
            database,
            OTEL_TRACES_EXPORTER="otlp",
            OTEL_METRICS_EXPORTER="otlp",
            OTEL_EXPORTER_OTLP_ENDPOINT=address,
            OTEL_EXPORTER_OTLP_COMPRESSION="none",
        )
    assert loaded == "opentelemetry.sdk opentelemetry.exporter.otlp"
    sent = dict(collector.sent)
    assert sent.keys() == {"/v1/traces", "/v1/metrics"}
    assert all(word in sent["/v1/traces"] for word in (b"encode", b"wordwave.run.id", b"wordwave.batch"))
    assert b"wordwave_waiting_clips" in sent["/v1/metrics"]


def test_what_cannot_be_sent_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "zipkin")
    with pytest.raises(otlp.NoTelemetry, match="OTEL_TRACES_EXPORTER is 'zipkin': set it to otlp or none"):
        otlp.is_sent("TRACES")
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "otlp")
    monkeypatch.setattr(otlp, "find_spec", lambda _: None)
    with pytest.raises(otlp.NoTelemetry, match=r"pip install 'wordwave\[telemetry\]'"):
        otlp.is_sent("TRACES")
