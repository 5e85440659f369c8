"""Batches are counted and traced with their ids, and an error costs no memory."""

import gc
import weakref
from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from flows.pipeline.runtime import telemetry
from flows.pipeline.runtime.telemetry import Figures, add_audio, timed, work_on_batch

RUN = uuid4()


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Every span that ends."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "_tracer", provider.get_tracer("test"))
    yield exporter
    provider.shutdown()


def test_a_batch_and_its_steps_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([1.0, 3.5])
    monkeypatch.setattr(telemetry, "monotonic", lambda: next(times))
    figures = Figures({"batches/tokenize/": 2})
    with work_on_batch(RUN, "tokenize", 3, figures):
        with timed("encode"):
            pass
        add_audio(1.25)
    assert figures.stored() == {
        "batches/tokenize/": 3,
        "seconds/tokenize/encode": 2.5,
        "audio_seconds/tokenize/": 1.25,
    }


def test_a_step_outside_of_a_batch_counts_nowhere() -> None:
    with timed("encode"):
        add_audio(1)


def fail(figures: Figures) -> None:
    with work_on_batch(RUN, "label", 1, figures), timed("write"):
        raise OSError("s3://calls/secret-clip.wav cannot be read")


def test_an_error_is_counted_by_its_kind() -> None:
    figures = Figures()
    with pytest.raises(OSError, match="cannot be read"):
        fail(figures)
    counted = figures.stored()
    assert counted["errors/label/OSError"] == 1
    assert "batches/label/" not in counted


def test_spans_carry_run_and_batch(spans: InMemorySpanExporter) -> None:
    with work_on_batch(RUN, "tokenize", 3, Figures()), timed("get"):
        pass
    inner, outer = spans.get_finished_spans()
    assert (inner.name, outer.name) == ("get", "tokenize")
    assert inner.parent is not None
    assert inner.parent.span_id == outer.context.span_id
    wanted = {"wordwave.run.id": str(RUN), "wordwave.stage": "tokenize", "wordwave.batch": 3}
    assert [dict(span.attributes or {}) for span in (inner, outer)] == [wanted, wanted]


def test_a_span_names_the_kind_of_an_error_and_no_clip(spans: InMemorySpanExporter) -> None:
    with pytest.raises(OSError, match="cannot be read"):
        fail(Figures())
    for span in spans.get_finished_spans():
        assert (span.status.status_code, span.status.description) == (StatusCode.ERROR, "OSError")
        assert "secret-clip" not in span.to_json()


class Waveforms:
    """What a batch holds."""


def test_whoever_keeps_the_error_of_a_batch_keeps_nothing_of_the_batch() -> None:
    held: list[weakref.ref[Waveforms]] = []

    def encode() -> None:
        waveforms = Waveforms()
        held.append(weakref.ref(waveforms))
        try:
            raise OSError("first")
        except OSError as error:
            raise ValueError("second") from error

    def failing() -> ValueError:
        try:
            with work_on_batch(RUN, "tokenize", 1, Figures()):
                encode()
        except ValueError as error:
            return error
        raise AssertionError

    kept = failing()
    gc.collect()
    assert held[0]() is None
    assert kept.__traceback__ is not None
