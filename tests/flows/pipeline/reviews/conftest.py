"""A library of tones and hisses, and a night of clips between them."""

from pathlib import Path

import pytest

from db.engine import session_scope
from db.reviews.decisions import NewDecision, Verdict, add_decisions
from db.reviews.queue import QueuedClip, open_queue
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, tone, write_clip


@pytest.fixture
def library(runtime: Runtime, manifest: Path) -> str:
    return import_manifest(runtime, "sounds", str(manifest), "label")[0].name


@pytest.fixture
def clips(folder: Path) -> Path:
    """Twelve clips: tones, hisses, and mixtures of both that are called beeps."""
    for number in range(4):
        write_clip(folder / f"tone-{number}.wav", tone(400 + 90 * number, seed=30 + number))
        write_clip(folder / f"hiss-{number}.wav", hiss(seed=40 + number))
        beep = tone(3000 + 40 * number, seed=50 + number) + 0.3 * hiss(seed=60 + number)
        write_clip(folder / f"beep-{number}.wav", beep)
    return folder


@pytest.fixture
def night(runtime: Runtime, library: str, clips: Path) -> Night:
    return run(runtime, clips)


def run(runtime: Runtime, folder: Path, reviews: int = 5, **request: object) -> Night:
    return run_night(
        runtime,
        partition_of(str(folder)),
        LabelRequest("sounds", **request),  # type: ignore[arg-type]
        with_bar,
        kind="nightly-labeling",
        export=False,
        reviews=reviews,
    )


def waiting(runtime: Runtime, library: str = "sounds") -> list[QueuedClip]:
    with session_scope(runtime.engine) as session:
        return open_queue(session, library)


def decide(
    runtime: Runtime,
    clip: QueuedClip,
    label: str | None,
    reviewer: str = "anna",
    *,
    verdict: Verdict | None = None,
) -> None:
    """Decide about a clip; no label: none of them."""
    said: Verdict = verdict or ("none" if label is None else "label")
    with session_scope(runtime.engine) as session:
        name = f"{clip.review} {label} {reviewer} {said}"
        decision = NewDecision(clip.review, said, label, None, reviewer, "test", {}, name)
        assert add_decisions(session, "csv", [decision]) == 1


def truth(clip: QueuedClip) -> str:
    """What a clip is called: its name begins so."""
    return clip.uri.rpartition("/")[2].partition("-")[0]
