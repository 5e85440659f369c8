"""A night in figures: what stands at its end, whoever answered it, and what moved since the last."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from db.runs import RunClaim
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library, import_manifest
from flows.pipeline.nights.earlier import night_before
from flows.pipeline.nights.jobs import Night, run_night, with_bar
from flows.pipeline.nights.summary import NightSummary, clips_worked, shift
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import StorageRefused
from tests.flows.pipeline.conftest import hiss, rows, tone, write_clip


@pytest.fixture
def library(runtime: Runtime, manifest: Path, run_id: RunClaim) -> Path:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    return manifest.parent


def night(runtime: Runtime, folder: Path, day: str, **request: Any) -> Night:
    asked = LabelRequest("sounds", **request)
    partition = partition_of(f"{folder}/{{day}}", day)
    return run_night(runtime, partition, asked, with_bar, kind="nightly-labeling", export=False)


def whole_night(runtime: Runtime, folder: Path) -> Night:
    """A night over all of a folder, whatever its day."""
    asked, partition = LabelRequest("sounds"), partition_of(str(folder))
    return run_night(runtime, partition, asked, with_bar, kind="nightly-labeling", export=False)


def test_a_nights_figures_are_those_of_its_clips(runtime: Runtime, folder: Path, library: Path) -> None:
    for number in range(3):
        write_clip(folder / f"2026-11-21/tone-{number}.wav", tone(500 + 50 * number, seed=30 + number))
    write_clip(folder / "2026-11-21/hiss.wav", hiss(seed=20))
    shutil.copy(library / "hiss-0.wav", folder / "2026-11-21/shown.wav")
    (folder / "2026-11-21/junk.wav").write_bytes(b"junk")
    done = night(runtime, folder, "2026-11-21", min_margin=1.0)
    margins = [clip.answer.margin for clip in done.answers if clip.answer]
    assert done.summary.mean_margin == pytest.approx(sum(margins) / 5)
    assert done.summary == NightSummary(
        labels={"tone": 3, "hiss": 2},
        uncertain=5,
        mean_margin=done.summary.mean_margin,
        agreement={"nearest": 1.0, "nearest_latent": 1.0},
        quarantined={"unsupported": 1},
        by_labeler={
            "mixture": 1.0,
            "nearest tokens": 1.0,
            "nearest latents": 1.0,
            "logistic latents": 1.0,
            "logistic log-mel": 0.75,
            "class mean latents": 1.0,
            "class mean log-mel": 0.75,
        },
    )
    assert 0 < done.run.seconds < 60
    again = night(runtime, folder, "2026-11-21", min_margin=1.0)
    assert again.summary == done.summary
    assert clips_worked(again.run.counts) == 0


def test_the_night_before_is_remembered_as_it_stood_at_its_end(
    runtime: Runtime, folder: Path, library: Path
) -> None:
    write_clip(folder / "2026-11-21/a.wav", tone(500, seed=30))
    first = night(runtime, folder, "2026-11-21")
    assert night_before(runtime, first.run.id) is None
    (folder / "2026-11-21/a.wav").unlink()
    write_clip(folder / "2026-11-22/a.wav", hiss(seed=20))
    second = night(runtime, folder, "2026-11-22")
    before = night_before(runtime, second.run.id)
    assert before is not None
    assert (before.name, before.summary) == ("2026-11-21", first.summary)
    assert before.change is not None
    assert (before.change.shared, before.change.only_now) == (0, second.summary.labels)
    assert shift(second.summary.labels, before.summary.labels) == 1.0
    assert shift(second.summary.labels, second.summary.labels) == 0.0


def test_clips_that_both_nights_have_are_compared_one_by_one(
    runtime: Runtime, folder: Path, library: Path
) -> None:
    day = folder / "2026-11-21"
    for number in range(3):
        write_clip(day / f"{number}.wav", tone(500 + 50 * number, seed=30 + number))
    write_clip(day / "lost.wav", tone(500, seed=35))
    first = night(runtime, folder, "2026-11-21")
    later = shutil.copytree(day, folder / "2026-11-22")
    (later / "0.wav").rename(later / "renamed.wav")
    (later / "lost.wav").unlink()
    write_clip(later / "other.wav", tone(550, seed=36))
    manifest = library / "library.jsonl"
    manifest.write_text(manifest.read_text().replace('"tone"', '"beep"').replace('"hiss"', '"rain"'))
    import_manifest(runtime, "sounds", str(manifest), "label", promote=True)
    second = night(runtime, folder, "2026-11-22")
    before = night_before(runtime, second.run.id)
    assert before is not None
    change = before.change
    assert change is not None
    assert (change.library_before, change.library_now) == ("sounds@1", "sounds@2")
    assert change.shared == sum(moved.clips for moved in change.moved) == 3
    assert {(moved.before, moved.now) for moved in change.moved} <= {("tone", "beep"), ("hiss", "rain")}
    examples = {uri.rpartition("/")[2] for moved in change.moved for uri in moved.examples}
    assert examples == {"1.wav", "2.wav", "renamed.wav"}
    assert (sum(change.only_before.values()), sum(change.only_now.values())) == (1, 1)
    assert first.summary.answered == change.shared + 1


def test_a_clip_that_was_overwritten_since_is_the_same_clip(
    runtime: Runtime, folder: Path, library: Path
) -> None:
    for name in ("a", "b"):
        write_clip(folder / f"{name}.wav", tone(500, seed=30))
    first = whole_night(runtime, folder)
    write_clip(folder / "a.wav", hiss(seed=20))
    second = whole_night(runtime, folder)
    before = night_before(runtime, second.run.id)
    assert before is not None
    assert before.run.id == first.run.id
    assert before.change is not None
    [moved] = before.change.moved
    assert (before.change.shared, moved.before, moved.now, moved.clips) == (2, "tone", "hiss", 1)
    assert moved.examples[0].endswith("/a.wav")


def test_a_run_that_fails_leaves_no_figures(runtime: Runtime, folder: Path, library: Path) -> None:
    with pytest.raises(StorageRefused):
        night(runtime, folder.parent / "elsewhere", "2026-11-21")
    assert rows(runtime.engine, "SELECT status, summary FROM runs WHERE kind = 'nightly-labeling'") == [
        ("failed", None)
    ]


def test_a_clip_that_was_tokenized_and_answered_was_worked_on_once() -> None:
    counts = Counts(
        {"tokenize.tokenized": 5, "tokenize.quarantined": 2, "label.labeled": 6, "export.rows": 99}
    )
    assert clips_worked(counts) == 7
    assert clips_worked({"label.labeled": 4}) == 4
