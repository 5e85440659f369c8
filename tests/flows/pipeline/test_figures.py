"""What a night did is there to be scraped, by a reader who may do nothing else, and names no clip."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample
from sqlalchemy import event

import flows.pipeline.runtime.exporter
from db.engine import make_engine
from db.runs import RunClaim
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.exporter import FAMILIES, RunFigures, exporter
from flows.pipeline.runtime.resources import Runtime
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip

KIND = "nightly-labeling"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def scraped(database: str) -> Iterator[str]:
    """What /metrics answers about a database."""
    port = free_port()
    with exporter(database, port), urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
        yield answer.read().decode()


def samples(text: str) -> list[Sample]:
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def value(found: list[Sample], name: str, **labels: str) -> float | None:
    """The value of the one sample that has these labels."""
    values = [one.value for one in found if one.name == name and labels.items() <= one.labels.items()]
    return values[0] if len(values) == 1 else None


@pytest.fixture
def night(runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim) -> str:
    """The place of a night over two clips that are labeled and one that is not audio."""
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(500, seconds=1.0))
    write_clip(folder / "b.wav", hiss(seconds=0.5))
    (folder / "secret-name.wav").write_bytes(b"junk")
    run_night(runtime, partition_of(str(folder)), LabelRequest("sounds"), with_bar, kind=KIND, export=True)
    return str(folder)


def test_a_night_is_scraped_as_the_analyst_may_read_it(night: str, database: Database) -> None:
    with scraped(database.url("analyst")) as text:
        found = samples(text)
    of_night = {"flow": KIND}
    clips = {
        "labeled": "label",
        "tokenized": "tokenize",
        "quarantined:unsupported": "tokenize",
        "new": "ingest",
    }
    counted = {
        outcome: value(found, "wordwave_clips_total", stage=stage, outcome=outcome, **of_night)
        for outcome, stage in clips.items()
    }
    assert counted == {"labeled": 2, "tokenized": 2, "quarantined:unsupported": 1, "new": 3}
    assert value(found, "wordwave_audio_seconds_total", stage="tokenize") == pytest.approx(1.5)
    assert value(found, "wordwave_batches_total", stage="label") == 1
    assert value(found, "wordwave_runs", flow=KIND, status="completed") == 1
    assert value(found, "wordwave_quarantined_clips", stage="tokenize", reason="unsupported") == 1
    assert value(found, "wordwave_waiting_clips") == 0
    assert value(found, "wordwave_database_up") == 1
    steps = {one.labels["step"] for one in found if one.name == "wordwave_step_seconds_total"}
    assert steps == {"list", "get", "decode", "encode", "label", "write"}
    assert "secret-name" not in text
    assert night not in text


def test_what_waits_to_be_read_is_counted(runtime: Runtime, folder: Path, database: Database) -> None:
    from flows.pipeline.nights.jobs import ingest_place

    write_clip(folder / "a.wav", tone(500))
    with recorded_run(runtime, "ingest-clips", str(folder), {}) as run:
        ingest_place(runtime, str(folder), run)
    with scraped(database.url("analyst")) as text:
        assert value(samples(text), "wordwave_waiting_clips") == 1


def test_a_writer_who_scrapes_writes_nothing_and_a_database_that_is_away_is_named(database: Database) -> None:
    with scraped(database.url("writer")) as text:
        assert value(samples(text), "wordwave_database_up") == 1
    with scraped("postgresql://wordwave_analyst:sesame@127.0.0.1:1/none") as text:
        assert [(one.name, one.value) for one in samples(text)] == [("wordwave_database_up", 0)]
        assert "sesame" not in text


def test_many_who_ask_at_once_cost_one_query(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, asked = make_engine(database.url("analyst")), list[str]()
    event.listen(engine, "before_cursor_execute", lambda *arguments: asked.append(arguments[2]))
    figures = RunFigures(engine)
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: len(list(figures.collect())), range(8)))) == 1
    assert sum("analytics.figures" in statement for statement in asked) == 1
    monkeypatch.setattr(flows.pipeline.runtime.exporter, "FRESH_SECONDS", 0)
    list(figures.collect())
    assert sum("analytics.figures" in statement for statement in asked) == 2
    engine.dispose()


def test_a_port_that_is_taken_is_named(database: Database) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(OSError, match=f"cannot be served on port {port} of 127.0.0.1"):
            exporter(database.url("analyst"), port).__enter__()


def test_figures_stay_with_the_run_that_did_the_work(runtime: Runtime) -> None:
    with recorded_run(runtime, "label", "here", {}) as run:
        run.shard_counts.update({"label.labeled": 7})
        run.figures.add("clips", "label", "labeled", 2)
    stored = rows(runtime.engine, "SELECT counts, figures FROM runs")
    assert stored == [({"label.labeled": 7}, {"clips/label/labeled": 2})]


def test_every_figure_of_the_view_is_explained_and_served(runtime: Runtime) -> None:
    [[comment]] = rows(
        runtime.engine,
        "SELECT col_description('analytics.figures'::regclass, 1)",
    )
    assert set(str(comment).split(", ")) == FAMILIES.keys()
