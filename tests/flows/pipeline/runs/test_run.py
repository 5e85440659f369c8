"""Recorded runs: one at a time, closed as they ended, taken up when their process died."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from db.engine import session_scope
from db.locks import PartitionBusy, partition_lock
from db.runs import RunClaim, RunLost, save_counts, start_run
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import run_stage, with_bar
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import recorded_run, run_session
from flows.pipeline.runtime.code_version import code_version
from flows.pipeline.runtime.resources import Runtime
from tests.db.test_locks import cut_connections
from tests.fixtures_postgres import Database
from tests.flows.pipeline.conftest import rows

RUNS = "SELECT status, attempts, counts FROM runs WHERE kind = 'label'"


def test_a_run_is_closed_with_the_counts_of_its_stages(runtime: Runtime) -> None:
    with recorded_run(runtime, "label", "here", {}) as run:
        run.count("tokenize", Counts(tokenized=2))
        run.count("tokenize", Counts(tokenized=3, quarantined=1))
    assert rows(runtime.engine, RUNS) == [
        ("completed", 1, {"tokenize.tokenized": 5, "tokenize.quarantined": 1})
    ]


@pytest.mark.parametrize(("error", "status"), [(ValueError, "failed"), (KeyboardInterrupt, "cancelled")])
def test_a_run_that_raises_is_closed_and_the_error_goes_on(
    runtime: Runtime, error: type[BaseException], status: str
) -> None:
    with pytest.raises(error), recorded_run(runtime, "label", "here", {}):
        raise error
    assert rows(runtime.engine, RUNS) == [(status, 1, {})]


def test_what_a_run_raised_is_told_where_the_database_does_not_let_it_be_closed(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OperationalError("UPDATE runs", {}, Exception("the server is away"))

    monkeypatch.setattr("flows.pipeline.runs.run.finish_run", fail)
    with pytest.raises(KeyboardInterrupt), recorded_run(runtime, "label", "here", {}):
        raise KeyboardInterrupt
    assert rows(runtime.engine, RUNS) == [("running", 1, {})]


def test_a_second_run_of_the_partition_is_refused_and_names_the_first(runtime: Runtime) -> None:
    with (
        recorded_run(runtime, "label", "here", {}) as run,
        pytest.raises(PartitionBusy, match=str(run.id)),
        recorded_run(runtime, "label", "here", {}),
    ):
        pass
    with recorded_run(runtime, "label", "here", {}), recorded_run(runtime, "label", "there", {}):
        pass


def never_closed(runtime: Runtime) -> UUID:
    """What a killed process leaves behind."""
    with session_scope(runtime.engine) as session:
        return start_run(
            session,
            "label",
            "label here",
            parameters={"k": 1},
            day=None,
            flow_run_id=None,
            code_version=code_version(),
        ).id


def test_a_run_that_was_never_closed_is_taken_up_under_its_id(runtime: Runtime) -> None:
    dead = never_closed(runtime)
    with recorded_run(runtime, "label", "here", {"k": 1}) as again:
        assert again.id == dead
    assert rows(runtime.engine, RUNS) == [("completed", 2, {})]


def test_a_dead_run_that_asked_for_something_else_is_closed_as_failed(runtime: Runtime) -> None:
    dead = never_closed(runtime)
    with recorded_run(runtime, "label", "here", {"k": 2}) as other:
        assert other.id != dead
    assert sorted(rows(runtime.engine, RUNS)) == [("completed", 1, {}), ("failed", 1, {})]


def test_the_counts_of_all_attempts_add_up(runtime: Runtime) -> None:
    dead = never_closed(runtime)
    with session_scope(runtime.engine) as session:
        save_counts(session, RunClaim(dead, 1), {"label.labeled": 2})
    with recorded_run(runtime, "label", "here", {"k": 1}) as run:
        run.count("label", Counts(labeled=3))
        run.shard_counts = Counts({"label.labeled": 4})
        assert rows(runtime.engine, RUNS) == [("running", 2, {"label.labeled": 5})]
    assert rows(runtime.engine, RUNS) == [("completed", 2, {"label.labeled": 9})]


def taken_up(runtime: Runtime) -> None:
    """What a second process does once the lock of the first one is lost."""
    with session_scope(runtime.engine) as session:
        start_run(
            session,
            "label",
            "label here",
            parameters={},
            day=None,
            flow_run_id=None,
            code_version=code_version(),
        )


def write_after_it_was_taken_up(runtime: Runtime) -> None:
    with recorded_run(runtime, "label", "here", {}) as run:
        taken_up(runtime)
        with run_session(runtime, run.claim):
            raise AssertionError


def test_a_run_that_another_process_took_up_stops_and_leaves_it_to_that_one(runtime: Runtime) -> None:
    with pytest.raises(RunLost, match="attempt 2"):
        write_after_it_was_taken_up(runtime)
    assert rows(runtime.engine, RUNS) == [("running", 2, {})]


def test_a_run_that_was_lost_does_not_end_as_completed(runtime: Runtime) -> None:
    with pytest.raises(RunLost), recorded_run(runtime, "label", "here", {}):
        taken_up(runtime)
    assert rows(runtime.engine, RUNS) == [("running", 2, {})]


def label_one(runtime: Runtime, done: list[str], meanwhile: Callable[[], None] = lambda: None) -> None:
    """A night of two batches, in whose first something else happens."""

    def step(batch: Sequence[str]) -> Counts:
        done.extend(batch)
        if batch == ["a"]:
            meanwhile()
        return Counts(labeled=1)

    with recorded_run(runtime, "label", "here", {}) as run:
        run_stage(run, with_bar, "label", step, [["a"], ["b"]])


def test_a_night_whose_lock_was_cut_goes_on_where_nobody_took_the_partition(
    runtime: Runtime, database: Database
) -> None:
    done: list[str] = []
    label_one(runtime, done, lambda: cut_connections(database))
    assert done == ["a", "b"]
    assert rows(runtime.engine, RUNS) == [("completed", 1, {"label.labeled": 2})]


def test_of_two_nights_one_works_where_the_lock_of_the_first_was_cut(
    runtime: Runtime, settings: Settings, database: Database
) -> None:
    first, second, other = list[str](), list[str](), Runtime(settings)

    def take_over() -> None:
        cut_connections(database)
        label_one(other, second)

    with pytest.raises(RunLost, match="is completed at attempt 2, this process is attempt 1"):
        label_one(runtime, first, take_over)
    other.close()
    assert (first, second) == (["a"], ["a", "b"])
    assert rows(runtime.engine, RUNS) == [("completed", 2, {"label.labeled": 2})]


def test_a_night_stops_before_its_next_batch_while_another_holds_the_partition(
    runtime: Runtime, database: Database
) -> None:
    done, holders = list[str](), ExitStack()

    def take_over() -> None:
        cut_connections(database)
        holders.enter_context(partition_lock(runtime.database_url, "label here"))

    with holders, pytest.raises(PartitionBusy, match="label here is held by"):
        label_one(runtime, done, take_over)
    assert done == ["a"]


def test_a_run_keeps_the_library_version_it_began_with(runtime: Runtime, manifest: Path) -> None:
    import_manifest(runtime, "sounds", str(manifest), "label")
    asked = {"library": "sounds", "canary_library": "sounds@1"}
    both = ("library", "canary_library")
    with recorded_run(runtime, "label", "here", asked, libraries=both) as first:
        assert first.parameters == {**asked, "library": "sounds@1"}
    rows_of_run = "UPDATE runs SET status = 'running', finished_at = NULL WHERE kind = 'label'"
    with session_scope(runtime.engine) as session:
        session.execute(text(rows_of_run))
    manifest.write_text("\n".join(manifest.read_text().splitlines()[::-1]))
    assert import_manifest(runtime, "sounds", str(manifest), "label", promote=True)[0].version == 2
    with recorded_run(runtime, "label", "here", asked, libraries=both) as again:
        assert (again.id, again.parameters["library"]) == (first.id, "sounds@1")
    with recorded_run(runtime, "label", "here", asked, libraries=both) as anew:
        assert anew.parameters["library"] == "sounds@2"


def test_an_unknown_library_is_left_for_the_run_to_fail_on(runtime: Runtime) -> None:
    with recorded_run(runtime, "label", "here", {"library": "sounds"}, libraries=("library",)) as run:
        assert run.parameters == {"library": "sounds"}
