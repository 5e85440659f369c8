"""A night that is not as it should be is never green: its state says so by name, and its message why."""

import json
from pathlib import Path
from typing import Any

import pytest

from flows.deployments import DEPLOYMENTS
from flows.pipeline.nights.jobs import ShardsFailed
from flows.pipeline.runs.outage import Away
from flows.pipeline.runs.verdict import DoubtfulNight, NoClips
from flows.pipeline.storage import StorageRefused
from tests.e2e.tables import rows
from tests.e2e.world import tone
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket
from tests.flows.final_state import final_state
from tests.flows.test_flows import artifact

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket.socket:ResourceWarning")


def night(prefix: object, library: str, day: str = "2026-11-21", **options: Any) -> Any:
    """The final state of a night."""
    from flows.nightly import nightly_labeling

    return final_state(nightly_labeling, str(prefix), library, day=day, **options)


@pytest.fixture
def bucket(worker: Path, s3: S3Bucket, monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A bucket that the worker may read."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    shared_runtime(Settings()).close()
    shared_runtime.cache_clear()
    monkeypatch.setenv("WORDWAVE_READ_ROOTS", f"{worker},{s3.uri}")
    return s3


@pytest.mark.parametrize(
    "prefix", ["{worker}/dayz/{{day}}", "{worker}/empty", "{bucket}/dayz/{{day}}", "{bucket}"]
)
def test_a_place_without_clips_is_empty_and_not_completed(
    library: str, worker: Path, bucket: S3Bucket, database: Database, prefix: str
) -> None:
    (worker / "empty").mkdir()
    state = night(prefix.format(worker=worker, bucket=bucket.uri), library)
    assert (state.type.value, state.name) == ("FAILED", "Empty")
    assert str(state.message).startswith("no clips: none are listed in ")
    with pytest.raises(NoClips):
        state.result()
    statuses = rows(database.url("writer"), "SELECT status FROM runs WHERE kind = 'nightly-labeling'")
    assert statuses == [{"status": "failed"}]


def test_a_day_without_clips_in_a_folder_of_others_is_empty(day: Path, library: str) -> None:
    state = night(day, library, day="2020-02-29")
    assert (state.type.value, state.name) == ("FAILED", "Empty")
    assert "last modified on 2020-02-29" in state.message


def test_a_day_whose_clips_have_all_vanished_is_empty(day: Path, library: str, database: Database) -> None:
    assert night(day, library, day="any").is_completed()
    for clip in day.iterdir():
        clip.unlink()
    assert night(day, library, day="any").name == "Empty"
    missing = rows(database.url("writer"), "SELECT count(*) FROM clips WHERE missing_since IS NOT NULL")
    assert missing == [{"count": 3}]


def test_a_bucket_that_has_vanished_fails_and_is_named(library: str, bucket: S3Bucket) -> None:
    place = f"{bucket.uri}/day"
    bucket.client.delete_bucket(Bucket=bucket.bucket)
    state = night(place, library)
    assert (state.type.value, state.name) == ("FAILED", "Failed")
    assert bucket.bucket in state.message


def test_a_night_that_may_be_empty_is_completed_by_another_name(library: str, worker: Path) -> None:
    (worker / "empty").mkdir()
    state = night(worker / "empty", library, least_clips=0)
    assert (state.type.value, state.name) == ("COMPLETED", "Empty")
    assert "least_clips 0 allows" in state.message
    assert state.result()["ingest.new"] == 0


def test_a_plan_of_no_clips_is_empty_too(library: str, worker: Path, database: Database) -> None:
    assert night(f"{worker}/dayz/{{day}}", library, dry_run=True).name == "Empty"
    assert night(f"{worker}/dayz/{{day}}", library, dry_run=True, least_clips=0).name == "Planned"
    assert not rows(database.url("writer"), "SELECT * FROM runs WHERE kind = 'nightly-labeling'")


def test_an_empty_night_is_not_tried_again_by_itself(library: str, worker: Path) -> None:
    from flows.nightly import nightly_labeling

    retried = nightly_labeling.with_options(retries=2, retry_delay_seconds=0)
    state = final_state(retried, f"{worker}/dayz", library, day="any")
    assert (state.type.value, state.name) == ("FAILED", "Empty")


def test_a_backfill_names_the_days_without_clips(day: Path, library: str, worker: Path) -> None:
    from flows.nightly import backfill_labeling

    days = (f"{worker}/{{day}}", library, "2026-11-20", "2026-11-22")
    state = final_state(backfill_labeling, *days)
    assert (state.type.value, state.name) == ("FAILED", "Empty")
    assert str(state.message).startswith("2 of 3 days have no clips; check the prefix")
    assert str(state.message).endswith("2026-11-20, 2026-11-22")
    table = json.loads(artifact("backfill-labeling-table").data)
    assert [row["status"] for row in table] == ["no clips", "done", "no clips"]
    assert backfill_labeling(*days, least_clips=0) == {
        "2026-11-20": "no clips",
        "2026-11-21": "nothing missing",
        "2026-11-22": "no clips",
    }


@pytest.mark.parametrize(
    "flow", ["ingest-clips", "tokenize-clips", "label-clips", "export-results", "upgrade-models"]
)
def test_a_step_over_a_place_without_clips_is_empty(library: str, worker: Path, flow: str) -> None:
    named = {} if flow in ("ingest-clips", "tokenize-clips") else {"library": library}
    step = next(deployed for deployed in DEPLOYMENTS if deployed.flow == flow).load()
    state = final_state(step, f"{worker}/dayz", **named)
    assert (state.type.value, state.name) == ("FAILED", "Empty")


@pytest.fixture
def twelve(worker: Path) -> Path:
    """A day of twelve clips, four of which cannot be used, and all others of one label."""
    folder = worker / "2026-11-22"
    folder.mkdir()
    for number in range(12):
        data = tone(200 + number)
        (folder / f"{number}.wav").write_bytes(data[:-400] if number < 4 else data)
    return folder


@pytest.mark.parametrize(
    ("bounds", "said"),
    [
        ({"max_quarantined": 0.2}, "4 of 12 clips are quarantined (33.33%, at most 20%)"),
        ({"max_one_label": 0.95}, "8 of 8 answers are low (100%, at most 95%)"),
    ],
)
def test_a_night_beyond_a_bound_is_doubtful_and_its_results_are_written(
    twelve: Path, library: str, worker: Path, database: Database, bounds: dict[str, float], said: str
) -> None:
    from flows.quality import watch_place

    assert watch_place(f"{worker}/{{day}}", **bounds).items() >= bounds.items()
    state = night(f"{worker}/{{day}}", library, day="2026-11-22")
    assert (state.type.value, state.name, state.message) == ("FAILED", "Doubtful", said)
    with pytest.raises(DoubtfulNight):
        state.result()
    text, _, figure = said.rpartition(" (")
    page = artifact("nightly-labeling-summary").data
    assert f"| {text} | {figure.split(',')[0]} | {figure.split(', ')[1][:-1]} | NO |" in page
    [run] = rows(database.url("writer"), "SELECT * FROM runs WHERE kind = 'nightly-labeling'")
    assert (run["status"], run["summary"]["doubts"]) == ("completed", [said])
    [export] = rows(database.url("writer"), "SELECT * FROM exports")
    assert (export["run_id"], export["num_rows"]) == (run["id"], 8)


def test_a_doubtful_day_is_done_for_a_backfill(twelve: Path, library: str, worker: Path) -> None:
    from flows.nightly import backfill_labeling
    from flows.quality import watch_place

    prefix = f"{worker}/{{day}}"
    watch_place(prefix, max_quarantined=0.2)
    state = final_state(backfill_labeling, prefix, library, "2026-11-22", "2026-11-22")
    assert (state.type.value, state.name) == ("FAILED", "Doubtful")
    assert "2026-11-22: 4 of 12 clips are quarantined (33.33%, at most 20%)" in str(state.message)
    assert [row["status"] for row in json.loads(artifact("backfill-labeling-table").data)] == ["doubtful"]
    again = backfill_labeling(prefix, library, "2026-11-22", "2026-11-22")
    assert again == {"2026-11-22": "nothing missing"}
    watch_place(prefix, max_quarantined=0.5)
    assert night(prefix, library, day="2026-11-22").name == "Completed"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (StorageRefused("s3://calls may not be read"), "s3://calls may not be read"),
        (ShardsFailed("2 of 4 shards failed"), "2 of 4 shards failed"),
        (Away("the store", 900, "reset"), str(Away("the store", 900, "reset"))),
    ],
)
def test_the_state_of_a_failure_that_people_can_mend_is_its_sentence_alone(
    prefect_server: None, monkeypatch: pytest.MonkeyPatch, error: Exception, message: str
) -> None:
    from flows.flow_runs.form_flow import flow

    @flow(name="failing")
    def failing() -> None:
        raise error

    monkeypatch.setenv("WORDWAVE_OUTAGE_RETRIES", "0")
    state = final_state(failing)
    assert (state.name, state.message) == ("Failed", message)
    with pytest.raises(type(error)):
        state.result()


def test_the_state_of_a_bug_names_its_kind(prefect_server: None) -> None:
    from flows.flow_runs.form_flow import flow

    @flow(name="failing")
    def failing() -> None:
        raise KeyError("day")

    assert "KeyError" in str(final_state(failing).message)
