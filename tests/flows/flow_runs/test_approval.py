"""Plan, then run: a dry run writes nothing, and a person's word lets a planned night go on."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.e2e.tables import tables
from tests.fixtures_postgres import Database
from tests.flows.final_state import final_state
from tests.flows.test_flows import artifact

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")

PATIENCE = 60.0


def test_a_dry_run_says_what_a_run_would_do_and_writes_nothing(
    day: Path,
    library: str,
    database: Database,
) -> None:
    from flows.nightly import nightly_labeling

    before = tables(database.url("writer"))
    counts = nightly_labeling(str(day), library, day="any", dry_run=True)
    assert {state: number for state, number in counts.items() if number} == {"new": 3}
    assert tables(database.url("writer")) == before
    page = artifact("nightly-plan-summary").data
    assert "A plan: nothing has been done." in page
    assert "| 3 | new: first seen in this listing |" in page
    assert [row["state"] for row in json.loads(artifact("nightly-plan-table").data)] == ["new"] * 3
    nightly_labeling(str(day), library, day="any")
    state = final_state(nightly_labeling, str(day), library, day="any", dry_run=True)
    assert (state.is_completed(), state.name) == (True, "Planned")
    done = state.result()
    assert {state: number for state, number in done.items() if number} == {"done": 2, "quarantined": 1}
    assert "1 | truncated" not in page
    assert "| truncated | 1 |" in artifact("nightly-plan-summary").data


@contextmanager
def person(act: Callable[[httpx.Client, str], None]) -> Iterator[list[str]]:
    """Somebody at the UI, who acts on the first run that waits; the ids of those are given."""
    from prefect.settings import PREFECT_API_URL

    address, seen = PREFECT_API_URL.value(), list[str]()

    def watch() -> None:
        deadline = time.monotonic() + PATIENCE
        waiting = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        with httpx.Client(base_url=f"{address}/", timeout=30) as api:
            while not seen and time.monotonic() < deadline:
                seen.extend(run["id"] for run in api.post("flow_runs/filter", json=waiting).json())
                time.sleep(0.2)
            for run in seen:
                act(api, run)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        thread.join()


def test_an_approved_night_goes_on_when_somebody_resumes_it_and_not_before(
    day: Path,
    library: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.flow_runs import approval
    from flows.nightly import nightly_labeling

    monkeypatch.setattr(approval, "POLL_SECONDS", 1)
    before, while_waiting = tables(database.url("writer")), []

    def resume(api: httpx.Client, run: str) -> None:
        while_waiting.append(tables(database.url("writer")))
        api.post(f"flow_runs/{run}/resume").raise_for_status()

    with person(resume) as seen:
        counts = nightly_labeling(str(day), library, day="any", approve=True)
    assert while_waiting == [before]
    assert counts["label.labeled"] == 2
    assert str(artifact("nightly-plan-summary").flow_run_id) == seen[0]


def test_a_night_that_nobody_approves_fails_and_does_nothing(
    day: Path,
    library: str,
    database: Database,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.flow_runs import approval
    from flows.nightly import nightly_labeling
    from flows.pipeline.nights.plan import NotApproved

    monkeypatch.setattr(approval, "POLL_SECONDS", 1)
    monkeypatch.setattr(approval, "APPROVAL_SECONDS", 2)
    before = tables(database.url("writer"))
    with pytest.raises(NotApproved, match="nobody resumed this run"):
        nightly_labeling(str(day), library, day="any", approve=True)
    assert tables(database.url("writer")) == before
    nightly_labeling(str(day), library, day="any")
    again = nightly_labeling(str(day), library, day="any", approve=True)
    assert again["export.unchanged_rows"] == 2  # without work there is nothing to approve
