"""A running service as operators watch it: metrics of its workers, their spans, and logs of JSON."""

import json
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import descendants
from tests.e2e.service import free_port, serving, wait_until
from tests.e2e.world import tone
from tests.fixtures_postgres import Database
from tests.flows.pipeline.runtime.test_otlp import collecting

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_metrics_spans_and_logs_of_a_worker(database: Database, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    (folder / "a.wav").write_bytes(tone(210))
    (folder / "secret-name.wav").write_bytes(b"junk")
    port = free_port()
    with collecting() as collector:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_READ_ROOTS": str(folder),
            "WORDWAVE_LLM": "none",
            "WORDWAVE_METRICS_PORT": str(port),
            "WORDWAVE_LOG_FORMAT": "json",
            "PREFECT_LOGGING_LEVEL": "INFO",
            "OTEL_TRACES_EXPORTER": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{collector.server_port}",
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        }
        with serving(environment, tmp_path / "home") as service:
            for flow in ("ingest-clips", "tokenize-clips"):
                assert service.wait_for(service.start(flow, prefix=str(folder)))["type"] == "COMPLETED"
            metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
            shown = service.client.get(f"{service.address}/api/health").status_code
            wait_until(lambda: len(descendants(service.process.pid)) <= 2)
            assert service.interrupt() == 0
        spans = b"".join(body for path, body in collector.sent if path == "/v1/traces")
    assert shown == httpx.codes.OK
    assert 'wordwave_clips_total{flow="tokenize-clips",outcome="tokenized",stage="tokenize"} 1.0' in metrics
    assert 'wordwave_quarantined_clips{reason="unsupported",stage="tokenize"} 1.0' in metrics
    assert all(name in spans for name in (b"get", b"decode", b"encode", b"write", b"wordwave.run.id"))
    password = database.server.passwords["wordwave_writer"]
    assert not [secret for secret in (password, service.password) if secret.encode() in spans]
    assert b"secret-name" not in spans
    lines = [line for line in service.log.read_text().splitlines() if line.startswith("{")]
    logged = [json.loads(line) for line in lines]
    assert any(line.get("flow_run_name") and "tokenize" in line["message"] for line in logged)
    assert password not in service.log.read_text()
