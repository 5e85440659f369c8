"""Recorded runs: one at a time, closed as they ended, taken up when their process died."""

from uuid import UUID

import pytest

from db.engine import session_scope
from db.locks import PartitionBusy
from db.runs import start_run
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.run import recorded_run
from flows.stages.version import code_version
from tests.flows.stages.conftest import rows

RUNS = "SELECT status, attempts, counts FROM runs WHERE kind = 'label'"


def test_a_run_is_closed_with_the_counts_of_its_stages(runtime: Runtime) -> None:
    with recorded_run(runtime, "label", "here", {}) as run:
        run.count("tokenize", [Counts(tokenized=2), Counts(tokenized=3, quarantined=1)])
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
        )


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
