"""A run is meant by any of the names that its page shows."""

from pathlib import Path
from uuid import UUID, uuid4

import pytest

from db.runs import RunNotFound
from flows.flow_runs.reference import find_run
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import shared_runtime
from tests.flows.final_state import final_state

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


def test_undo_and_verify_take_the_id_and_the_name_that_a_page_shows(day: Path, library: str) -> None:
    from prefect.client.orchestration import get_client

    from flows.nightly import nightly_labeling
    from flows.quality import verify_run
    from flows.repair import replay_quarantine, undo_run

    state = final_state(nightly_labeling, str(day), library, day="any")
    run = str(state.result()["run"])
    flow_run_id = state.state_details.flow_run_id
    assert flow_run_id
    with get_client(sync_client=True) as client:
        name = client.read_flow_run(flow_run_id).name
    runtime = shared_runtime(Settings())
    assert {str(find_run(runtime, one)) for one in (run, str(flow_run_id), name)} == {run}
    assert verify_run(name)["verify.passed"] == 4
    assert replay_quarantine(name)["replay.replayed"] == 1
    undone = undo_run(str(flow_run_id))
    assert undone["undo.retracted"] == 2
    assert undo_run(undone["run"])["undo.restored"] == 2
    for unknown in (str(uuid4()), "no such run"):
        with pytest.raises(RunNotFound, match=f"there is no run {unknown}: give an id or a name"):
            undo_run(unknown)


def test_a_name_of_several_runs_means_none_of_them(day: Path, library: str) -> None:
    from flows.steps import ingest_clips

    named = ingest_clips.with_options(flow_run_name="the same")
    named(str(day))
    named(str(day))
    with pytest.raises(ValueError, match=r"2 runs are the same: give one of .*ingest-clips, completed"):
        find_run(shared_runtime(Settings()), "the same")


def test_a_name_that_holds_a_uri_is_replayed_too(day: Path, library: str) -> None:
    from flows.repair import replay_quarantine
    from flows.steps import ingest_clips

    name = "ingest s3://calls/2026-11-21"
    ingest_clips.with_options(flow_run_name=name)(str(day))
    state = final_state(replay_quarantine, name)
    assert state.message == "3 known"


def test_a_name_without_a_server_says_so(worker: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    runtime = shared_runtime(Settings())
    with (
        temporary_settings(restore_defaults={PREFECT_API_URL}),
        pytest.raises(ValueError, match="give the id"),
    ):
        find_run(runtime, "nightly")
    with pytest.raises(RunNotFound):
        find_run(runtime, str(UUID(int=1)))
