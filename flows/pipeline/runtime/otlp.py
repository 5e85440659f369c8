"""Sending of spans and metrics to an OpenTelemetry collector, if the OTEL_* variables say so.

Without them nothing is loaded. OpenTelemetry's SDK reads the address, headers and intervals.
"""

import os
from functools import cache
from importlib.util import find_spec
from typing import Literal

Signal = Literal["TRACES", "METRICS"]
SERVICE = "wordwave"


class NoTelemetry(RuntimeError):
    """Telemetry is configured and cannot be sent."""


def is_sent(signal: Signal) -> bool:
    """Return whether to send a signal. Raises NoTelemetry if it is configured and cannot be sent."""
    variable = f"OTEL_{signal}_EXPORTER"
    if (exporter := os.environ.get(variable) or "none") == "none":
        return False
    if exporter != "otlp":
        raise NoTelemetry(f"{variable} is {exporter!r}: set it to otlp or none")
    if find_spec("opentelemetry.sdk") is None or find_spec("opentelemetry.exporter") is None:
        raise NoTelemetry(
            f"{variable} is set, and its packages are missing: pip install 'wordwave[telemetry]'"
        )
    os.environ.setdefault("OTEL_SERVICE_NAME", SERVICE)
    return True


@cache
def send_traces() -> None:
    """Send the spans of this process from now on, and the rest when it ends."""
    if not is_sent("TRACES"):
        return
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@cache
def send_metrics() -> None:
    """Send the metrics of this process from now on, at the interval of OTEL_METRIC_EXPORT_INTERVAL."""
    if not is_sent("METRICS"):
        return
    from opentelemetry import metrics
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    metrics.set_meter_provider(MeterProvider([reader]))
