"""A run says what it is, what it came to and, however it ended, what it had done."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import Mock
from uuid import UUID

import pytest

from flows.pipeline.nights.summary import NightSummary, night_line
from flows.pipeline.storage import StorageRefused
from tests.flows.final_state import final_state

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


def flow_run_of(state: Any) -> Any:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        return client.read_flow_run(state.state_details.flow_run_id)


def pages_of(flow_run_id: UUID | None) -> dict[str, str]:
    """The artifacts of a flow run by their keys."""
    assert flow_run_id
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[flow_run_id]))
    with get_client(sync_client=True) as client:
        return {str(one.key): str(one.data) for one in client.read_artifacts(artifact_filter=wanted)}


@pytest.fixture
def lines() -> Iterator[list[logging.LogRecord]]:
    """What flow runs log, in the first run of the process too, where Prefect still sets up its loggers."""
    from prefect.logging.configuration import ensure_logging_setup

    ensure_logging_setup()
    seen: list[logging.LogRecord] = []

    class Seen(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record)

    handler = Seen()
    logger = logging.getLogger("prefect.flow_runs")
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


def test_a_night_is_called_what_it_does_and_its_state_says_what_it_came_to(day: Path, library: str) -> None:
    from flows.nightly import nightly_labeling

    asked = {"prefix": f"{day.parent}/{{day}}", "library": library, "day": day.name}
    dry, first, again = (
        final_state(nightly_labeling, **asked, **more) for more in ({"dry_run": True}, {}, {})
    )
    name = f"nightly {day} by {library}, {day.name}"
    assert [flow_run_of(state).name for state in (dry, first, again)] == [
        f"dry run: {name}", name, f"repeat: {name}",
    ]  # fmt: skip
    assert dry.message == "3 clips to work on"
    assert first.message == "2 labeled, 1 set aside, 0 doubtful"
    assert again.message == "nothing new: 2 labeled, 1 set aside, 0 doubtful"
    page = pages_of(first.state_details.flow_run_id)["nightly-labeling-summary"]
    assert f"Run `{first.result()['run']}`, flow run `{first.state_details.flow_run_id}` ({name})" in page
    assert "The table shows 3 of 3 clips" in page


def test_the_nights_of_a_backfill_are_called_so(day: Path, library: str) -> None:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterName

    from flows.nightly import backfill_labeling

    state = final_state(backfill_labeling, f"{day.parent}/{{day}}", library, day.name, day.name)
    assert flow_run_of(state).name == f"backfill {day.parent}/* by {library}, {day.name} to {day.name}"
    night = f"backfill: nightly {day} by {library}, {day.name}"
    with get_client(sync_client=True) as client:
        named = FlowRunFilter(name=FlowRunFilterName(any_=[night]))
        assert [run.name for run in client.read_flow_runs(flow_run_filter=named)] == [night]
    assert state.message == "1 days done"


def test_a_failed_run_ends_with_a_sentence_and_leaves_a_page(
    day: Path, library: str, lines: list[logging.LogRecord]
) -> None:
    from flows.artifacts.markdown import escape
    from flows.nightly import nightly_labeling
    from flows.steps import ingest_clips

    state = final_state(ingest_clips, "s3://elsewhere/x")
    with pytest.raises(StorageRefused):
        state.result()
    assert "'s3://elsewhere/x' may not be read" in lines[-1].getMessage()
    assert not any(line.exc_info for line in lines if line.levelno > logging.DEBUG)
    assert str(state.message).startswith("'s3://elsewhere/x' may not be read; allowed: ")
    page = pages_of(state.state_details.flow_run_id)["ingest-clips-summary"]
    refusal = escape("'s3://elsewhere/x' may not be read")
    assert f"This run failed: {refusal}" in page
    other = final_state(nightly_labeling, str(day), library, day="any", canary_library="none")
    page = pages_of(other.state_details.flow_run_id)["nightly-labeling-summary"]
    assert "This run failed: " in page
    assert "The finished work is kept" in page


def test_the_state_of_a_watched_place_says_its_bounds(worker: Path) -> None:
    from flows.quality import watch_place

    state = final_state(watch_place, f"{worker}/{{day}}", max_quarantined=0.2, least_usual=0.5)
    assert state.message == "max quarantined 0.2, least usual 0.5"
    state = final_state(watch_place, f"{worker}/{{day}}")
    assert state.message == "no bounds: no night of this place is doubtful"


@pytest.mark.parametrize(("kind", "said"), [("CRASHED", "crashed"), ("CANCELLING", "was cancelled")])
def test_a_run_whose_process_is_gone_leaves_the_page_of_what_the_database_knows(
    worker: Path, kind: Any, said: str
) -> None:
    from prefect import flow
    from prefect.client.schemas.objects import State, StateType
    from prefect.runtime import flow_run

    from flows.flow_runs.end import leave_page
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runs.counts import Counts
    from flows.pipeline.runs.run import recorded_run
    from flows.pipeline.runtime.resources import shared_runtime

    @flow(name="tokenize-clips")
    def killed() -> None:
        runtime = shared_runtime(Settings())
        with recorded_run(runtime, "tokenize-clips", "s3://calls", {}, flow_run_id=flow_run.id) as run:
            run.count("tokenize", Counts({"tokenized": 94, "quarantined": 2, "quarantined:silent": 2}))

    ended = flow_run_of(final_state(killed))
    leave_page(killed, ended, State(type=StateType[kind], message="Process exited with status code: -9."))
    page = pages_of(ended.id)["tokenize-clips-summary"]
    assert page.startswith("## s3://calls\n")
    assert f"flow run `{ended.id}` ({ended.name})" in page
    assert f"This run {said}: Process exited with status code: -9." in page
    assert "| tokenize | tokenized | 94 |\n| tokenize | set aside: silent | 2 |\n" in page


def test_the_numbers_of_a_line_add_up_to_the_clips() -> None:
    night = NightSummary({"dog": 30, "cat": 10}, 16, 0.5, {}, {"silent": 2, "truncated": 1})
    assert night_line(night, 43, {"label.labeled": 40}) == "24 labeled, 3 set aside, 16 doubtful"
    assert night_line(night, 45, {"label.labeled": 40}).endswith(", 2 left")


def test_a_bug_keeps_its_traceback_and_a_known_error_has_it_at_debug() -> None:
    from flows.flow_runs.log import Sentences

    def record(error: Exception) -> logging.LogRecord:
        return logging.LogRecord("a flow", logging.ERROR, "", 1, "x", (), (type(error), error, None))

    logger, handler = logging.getLogger("a flow"), Mock(level=logging.DEBUG)
    logger.propagate, logger.handlers = False, [handler]
    logger.setLevel(logging.DEBUG)
    known, bug = record(StorageRefused("not on the list")), record(TypeError("x"))
    assert all(map(Sentences().filter, (known, bug)))
    assert (known.getMessage(), known.exc_info) == ("not on the list", None)
    assert bug.exc_info
    [[details], _] = handler.handle.call_args
    assert (details.levelno, details.exc_info[0]) == (logging.DEBUG, StorageRefused)
