"""A night that would fail is found before it is scheduled."""

from pathlib import Path
from shutil import rmtree
from typing import Any

import pytest

from flows.flow_runs.form_flow import FormRefused
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import StorageMissing, StorageRefused
from flows.server.nights.night_check import NothingYet, find_obstacle


def values(worker: Path, **other: Any) -> dict[str, Any]:
    return {"prefix": f"{worker}/{{day}}", "library": "sounds", "day": "yesterday", **other}


def test_nothing_stands_in_the_way_of_a_good_night(worker: Path, library: str) -> None:
    assert find_obstacle(Settings(), values(worker, library=library)) is None
    assert find_obstacle(Settings(), values(worker, canary_library=f"{library}@1")) is None
    assert find_obstacle(Settings(), values(worker, prefix=f"{worker}/day-{{day}}")) is None


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"library": "soundz"}, "there is no library soundz: did you mean sounds"),
        ({"library": "sounds@2"}, "library sounds has no version 2"),
        ({"canary_library": "birds"}, "there is no library birds"),
    ],
)
def test_a_library_that_is_not_there_is_named(
    worker: Path, library: str, other: dict[str, str], said: str
) -> None:
    assert said in str(find_obstacle(Settings(), values(worker, **other)))


def test_a_place_that_may_not_be_read_or_is_not_there_is_named(worker: Path, library: str) -> None:
    outside = find_obstacle(Settings(), values(worker, prefix=f"{worker.parent}/{{day}}"))
    assert isinstance(outside, StorageRefused)
    empty = find_obstacle(Settings(), values(worker, prefix=f"{worker}/unknown/{{day}}"))
    assert isinstance(empty, NothingYet)
    rmtree(worker)
    assert isinstance(find_obstacle(Settings(), values(worker)), StorageMissing)


@pytest.mark.parametrize(
    "other", [{"timezone": "Europe/Atlantis"}, {"prefix": "s3://calls/{date}"}, {"library": "sounds@0"}]
)
def test_values_that_the_form_would_refuse_are_named(worker: Path, other: dict[str, str]) -> None:
    error = find_obstacle(Settings(), values(worker, **other))
    assert isinstance(error, FormRefused)
    assert str(error).startswith(f"{next(iter(other))}: ")


def test_values_that_are_missing_are_named(worker: Path) -> None:
    assert str(find_obstacle(Settings(), {})).startswith("prefix: missing")
