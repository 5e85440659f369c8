"""Plans: what a night would find to do, with nothing written and no object read."""

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from db.runs import RunClaim
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.nights.plan import NightPlan, Planner
from flows.pipeline.runs.partition import Partition, partition_of, partitions_of
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import tables
from tests.flows.pipeline.conftest import hiss, tone, write_clip

REQUEST = LabelRequest("sounds")


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> str:
    return build_library(runtime, "sounds", str(manifest), "label", run_id).name


def plan(runtime: Runtime, partition: Partition, request: LabelRequest = REQUEST) -> NightPlan:
    before = tables(runtime.database_url)
    planned = Planner(Labelings(runtime, request)).plan(partition)
    assert tables(runtime.database_url) == before
    return planned


def night(runtime: Runtime, partition: Partition, *, export: bool = True) -> None:
    run_night(runtime, partition, REQUEST, with_bar, kind="nightly-labeling", export=export)


def names(clips: Mapping[str, str]) -> dict[str, str]:
    return {uri.rpartition("/")[2]: state for uri, state in clips.items()}


def test_each_clip_is_in_the_state_in_which_a_run_would_find_it(
    runtime: Runtime, folder: Path, library: str
) -> None:
    partition = partition_of(str(folder))
    for number, name in enumerate(["changed", "done", "gone", "later"]):
        write_clip(folder / f"{name}.wav", tone(440, seed=number))
    (folder / "junk.wav").write_bytes(b"junk")
    night(runtime, partition)
    assert plan(runtime, partition).is_done
    write_clip(folder / "changed.wav", hiss(seed=9))
    write_clip(folder / "new.wav", hiss(seed=10))
    (folder / "gone.wav").unlink()
    planned = plan(runtime, partition)
    assert names(planned.clips) == {"changed.wav": "changed", "junk.wav": "quarantined", "new.wav": "new"}
    assert list(planned.reasons.values()) == ["unsupported"]
    assert (planned.counts["done"], planned.due) == (2, 2)
    assert planned.relisted == 2
    assert not planned.is_done


def test_another_request_finds_all_to_label(runtime: Runtime, folder: Path, library: str) -> None:
    partition = partition_of(str(folder))
    write_clip(folder / "a.wav", tone(440, seed=1))
    night(runtime, partition)
    assert names(plan(runtime, partition, LabelRequest("sounds", k_shot=1)).clips) == {"a.wav": "to label"}


def test_a_night_that_died_before_its_export_is_not_done(
    runtime: Runtime, folder: Path, library: str
) -> None:
    partition = partition_of(str(folder))
    write_clip(folder / "a.wav", tone(440, seed=1))
    night(runtime, partition, export=False)
    planned = plan(runtime, partition)
    assert (planned.due, planned.is_exported, planned.is_done) == (0, False, False)
    night(runtime, partition)
    assert plan(runtime, partition).is_done


def test_a_folder_without_clips_misses_nothing(runtime: Runtime, folder: Path, library: str) -> None:
    assert plan(runtime, partition_of(str(folder))).is_done


def test_days_of_one_place_are_told_apart_by_when_clips_were_modified(
    runtime: Runtime, folder: Path, library: str
) -> None:
    for day in (1, 2, 3):
        when = datetime(2026, 11, day, 12, tzinfo=UTC).timestamp()
        os.utime(write_clip(folder / f"{day}.wav", tone(440, seed=day)), (when, when))
    days = partitions_of(str(folder), date(2026, 11, 1), date(2026, 11, 4), "UTC")
    night(runtime, days[1])
    planner = Planner(Labelings(runtime, REQUEST))
    found = [names(planner.plan(day).clips) for day in days]
    assert found == [{"1.wav": "to tokenize"}, {}, {"3.wav": "to tokenize"}, {}]


def test_a_range_has_both_its_ends_and_at_most_a_year() -> None:
    days = partitions_of("/clips/{day}", date(2024, 2, 28), date(2024, 3, 1), "UTC")
    assert [day.place[-10:] for day in days] == ["2024-02-28", "2024-02-29", "2024-03-01"]
    with pytest.raises(ValueError, match="0 days"):
        partitions_of("/clips", date(2024, 3, 1), date(2024, 2, 28), "UTC")
    with pytest.raises(ValueError, match="367 days: use 1 to 366"):
        partitions_of("/clips", date(2024, 1, 1), date(2025, 1, 1), "UTC")
