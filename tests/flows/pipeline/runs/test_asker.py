"""A run says who asked for it."""

import os
import pwd

import pytest

from flows.pipeline.runs import asker
from flows.pipeline.runs.asker import asked_by
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows


def _askers(runtime: Runtime) -> dict[object, object]:
    return dict(rows(runtime.engine, "SELECT place, asked_by FROM analytics.runs"))


def test_a_command_is_asked_for_by_the_account_whatever_the_environment_says(
    runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("LOGNAME", "USER", "USERNAME"):
        monkeypatch.setenv(name, "somebody else")
    with recorded_run(runtime, "test", "here", {}):
        pass
    assert _askers(runtime) == {"here": pwd.getpwuid(os.getuid()).pw_name}


def test_an_account_without_a_name_is_known_by_its_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 987_654)
    assert asker.asker() == "uid 987654"


def test_a_flow_inside_another_one_was_asked_for_by_whoever_asked_for_that(runtime: Runtime) -> None:
    with asked_by("schedule"):
        with asked_by("UI"), recorded_run(runtime, "test", "inside", {}):
            pass
        with recorded_run(runtime, "test", "outside", {}):
            pass
    assert _askers(runtime) == {"inside": "schedule", "outside": "schedule"}


def test_a_shard_was_asked_for_by_whoever_asked_for_its_night(runtime: Runtime) -> None:
    with asked_by("schedule"), recorded_run(runtime, "test", "night", {}) as night:
        pass
    with recorded_run(runtime, "test", "shard", {"night": str(night.id)}, night=night.id):
        pass
    assert _askers(runtime) == {"night": "schedule", "shard": "schedule"}
