"""Previews: lengths, a prompt as the LLM reads it, and minutes by the pace of past runs."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from db.runs import RunClaim
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.preview import Preview, pace, preview
from flows.pipeline.runs.partition import Partition, partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.tables import tables
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip
from tests.flows.pipeline.labeling.test_label import write_llama

KIND = "nightly-labeling"


@pytest.fixture
def partition(runtime: Runtime, manifest: Path, run_id: RunClaim, folder: Path) -> Partition:
    """A library, and a folder of two clips."""
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(520, seed=30))
    write_clip(folder / "b.wav", hiss(seconds=1.2, seed=20))
    return partition_of(str(folder))


@pytest.fixture
def llama_runtime(settings: Settings, tmp_path: Path) -> Iterator[Runtime]:
    runtime = Runtime(settings.model_copy(update={"llm": str(write_llama(tmp_path / "tiny-llama"))}))
    yield runtime
    runtime.close()


def seen(runtime: Runtime, partition: Partition, **request: Any) -> Preview:
    before = tables(runtime.database_url)
    found = preview(Labelings(runtime, LabelRequest("sounds", **request)), partition, KIND)
    assert tables(runtime.database_url) == before
    return found


def night(runtime: Runtime, partition: Partition, **request: Any) -> Night:
    asked = LabelRequest("sounds", **request)
    return run_night(runtime, partition, asked, with_bar, kind=KIND, export=True)


def test_minutes_are_those_of_the_clips_to_do_at_the_pace_of_past_runs(
    runtime: Runtime, partition: Partition, folder: Path
) -> None:
    first = seen(runtime, partition)
    assert (first.plan.due, first.pace, first.minutes) == (2, None, None)
    night(runtime, partition)
    [(seconds,)] = rows(
        runtime.engine,
        "UPDATE runs SET finished_at = started_at + interval '4 s' WHERE kind = 'nightly-labeling' "
        "RETURNING extract(epoch FROM finished_at - started_at)::int",
    )
    write_clip(folder / "c.wav", tone(560, seed=31))
    later = seen(runtime, partition)
    assert later.pace is not None
    assert (seconds, later.pace.clips_per_second, later.pace.runs) == (4, 0.5, 1)
    assert later.minutes == pytest.approx(1 / 0.5 / 60)


def test_the_pace_of_other_models_tells_nothing(
    runtime: Runtime, llama_runtime: Runtime, partition: Partition
) -> None:
    night(runtime, partition)
    assert pace(llama_runtime, KIND) is None
    assert pace(runtime, "label") is None
    assert pace(runtime, KIND) is not None


def test_lengths_are_those_of_clips_that_have_tokens(runtime: Runtime, partition: Partition) -> None:
    assert seen(runtime, partition).lengths == []
    night(runtime, partition)
    short, long = seen(runtime, partition).lengths
    assert 0 < short < long


def test_without_an_llm_there_is_no_prompt(runtime: Runtime, partition: Partition) -> None:
    found = seen(runtime, partition)
    assert (found.prompt.text, found.over_limit) == ("", 0)
    assert "no LLM is set" in found.prompt.why_none


@pytest.mark.parametrize("request_", [{}, {"nearest_shots": 1}])
def test_the_prompt_is_shown_as_the_llm_reads_it(
    llama_runtime: Runtime, partition: Partition, request_: dict[str, object]
) -> None:
    night(llama_runtime, partition, **request_)
    found = seen(llama_runtime, partition, **request_).prompt
    lines = [" ".join(line.removesuffix("###").split()) for line in found.text.splitlines()]
    shots = 1 if request_ else 2
    answers = ["Output: hiss"] * shots + ["Output: tone"] * shots
    assert sorted(line for line in lines if line.startswith("Output:")) == ["Output:", *answers]
    assert lines[-1] == "Output:"
    assert lines[-2].startswith("Input: <")
    assert 0 < found.shared < found.longest <= found.context == 1024


def test_before_any_clip_has_tokens_a_demonstration_is_asked(
    llama_runtime: Runtime, partition: Partition
) -> None:
    found = seen(llama_runtime, partition)
    assert found.lengths == []
    assert found.prompt.of_demonstration
    assert found.prompt.text.count("Output:") == 5


def test_a_prompt_that_does_not_fit_is_over_the_limit_for_every_clip(
    settings: Settings, partition: Partition, tmp_path: Path
) -> None:
    llm = write_llama(tmp_path / "short", context=64)
    short = Runtime(settings.model_copy(update={"llm": str(llm)}))
    try:
        found = seen(short, partition)
    finally:
        short.close()
    assert (found.plan.due, found.over_limit) == (2, 2)
    assert "context holds 64" in found.prompt.why_none
