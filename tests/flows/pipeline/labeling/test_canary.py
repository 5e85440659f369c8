"""Canaries: a night whose known clips are answered wrong is stopped before it labels anything."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from core.decoding.audio_stream import Samples
from core.errors import PromptError
from db.libraries import LibraryNotFound
from db.runs import RunClaim
from flows.pipeline.labeling.canary import CanaryFailed, CanaryRequest
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip, write_manifest

HELD_OUT = {
    "tone": [tone(500 + 20 * n, seed=40 + n) for n in range(3)],
    "hiss": [hiss(seed=50 + n) for n in range(3)],
}
SHUFFLED = {
    "tone": [HELD_OUT["hiss"][0], HELD_OUT["hiss"][1], HELD_OUT["tone"][0]],
    "hiss": [HELD_OUT["tone"][1], HELD_OUT["tone"][2], HELD_OUT["hiss"][2]],
}
"""Two of six labels are left where they belong."""


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim, folder: Path) -> Path:
    """A library, and a night's folder of one clip; gives where canaries may lie."""
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "a.wav", tone(520, seed=7))
    return manifest.parent / "canaries"


def put(runtime: Runtime, folder: Path, clips: dict[str, list[Samples]], run_id: RunClaim) -> None:
    folder.mkdir()
    build_library(runtime, "canaries", str(write_manifest(folder, clips)), "label", run_id)


def night(runtime: Runtime, folder: Path, least: float, name: str = "canaries") -> Night:
    asked = CanaryRequest(name, least)
    request = LabelRequest("sounds")
    return run_night(
        runtime, partition_of(str(folder)), request, with_bar, kind="night", export=False, canaries=asked
    )


def stored(runtime: Runtime) -> Sequence[object]:
    return rows(
        runtime.engine,
        "SELECT count(*)::int FROM predictions UNION ALL SELECT count(*)::int FROM clips "
        "WHERE uri LIKE '%/clips/%'",
    )


def test_canaries_that_are_right_let_the_night_go_on_and_leave_no_answers(
    runtime: Runtime, folder: Path, library: Path, run_id: RunClaim
) -> None:
    put(runtime, library, HELD_OUT, run_id)
    done = night(runtime, folder, least=1.0)
    assert done.run.counts["canaries.asked"] == done.run.counts["canaries.right"] == 6
    assert stored(runtime) == [(1,), (1,)]
    parameters = rows(runtime.engine, "SELECT parameters FROM runs WHERE kind = 'night'")[0][0]
    assert isinstance(parameters, dict)
    assert (parameters["canary_library"], parameters["least_canary_accuracy"]) == ("canaries@1", 1.0)


def test_canaries_of_shuffled_labels_stop_the_night_before_it_begins(
    runtime: Runtime, folder: Path, library: Path, run_id: RunClaim
) -> None:
    put(runtime, library, SHUFFLED, run_id)
    with pytest.raises(CanaryFailed, match=r"2 of 6 canaries of canaries@1 .*\(33%\), at least 80%"):
        night(runtime, folder, least=0.8)
    assert stored(runtime) == [(0,), (0,)]
    closed = rows(runtime.engine, "SELECT status, counts FROM runs WHERE kind = 'night'")
    assert closed == [("failed", {"canaries.asked": 6, "canaries.right": 2})]


def test_a_bound_that_is_just_reached_is_reached(
    runtime: Runtime, folder: Path, library: Path, run_id: RunClaim
) -> None:
    put(runtime, library, SHUFFLED, run_id)
    assert night(runtime, folder, least=1 / 3).run.counts["label.labeled"] == 1
    with pytest.raises(CanaryFailed):
        night(runtime, folder, least=0.34)


def test_canaries_change_nothing_about_the_prompt(
    runtime: Runtime, folder: Path, library: Path, run_id: RunClaim
) -> None:
    put(runtime, library, HELD_OUT, run_id)
    request, partition = LabelRequest("sounds"), partition_of(str(folder))
    plain = run_night(runtime, partition, request, with_bar, kind="night", export=False)
    asked = night(runtime, folder, least=0.5)
    assert asked.labeling.setup.labeler.prompt_hash == plain.labeling.setup.labeler.prompt_hash
    assert asked.run.counts["label.labeled"] == 0


def test_a_canary_that_could_tell_nothing_is_refused_before_any_work(
    runtime: Runtime, folder: Path, library: Path, run_id: RunClaim
) -> None:
    with pytest.raises(PromptError, match="4 canaries of sounds@1 are demonstrations of sounds@1 too"):
        night(runtime, folder, 0.5, "sounds")
    put(runtime, library, HELD_OUT | {"bell": [tone(2000, seed=60)]}, run_id)
    with pytest.raises(
        PromptError, match="labels that sounds@1 does not know: bell; its labels are hiss, tone"
    ):
        night(runtime, folder, 0.5)
    with pytest.raises(LibraryNotFound, match="did you mean canaries"):
        night(runtime, folder, 0.5, "canary")
    assert stored(runtime) == [(0,), (0,)]
