"""What people and programs read of a labeled place."""

from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest

from db.predictions import Answer
from db.runs import RunClaim
from flows.pipeline.labeling import label
from flows.pipeline.labeling.report import ClipAnswer, ClipAnswers, json_rows, table_lines
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import build_library
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import hiss, tone, write_clip


@pytest.mark.parametrize("at_a_time", [1, 2, 1_000])
def test_every_clip_has_a_row_in_listing_order_whatever_became_of_it(
    runtime: Runtime,
    folder: Path,
    manifest: Path,
    run_id: RunClaim,
    at_a_time: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(label, "CLIPS_PER_QUERY", at_a_time)
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    write_clip(folder / "c.wav", tone(440, seed=5))
    write_clip(folder / "a.wav", hiss(seed=6))
    (folder / "b.wav").write_bytes(b"junk")
    request = LabelRequest("sounds", min_margin=1.0)
    night = run_night(runtime, partition_of(str(folder)), request, with_bar, kind="label", export=False)
    answers = list(ClipAnswers(night.labeling, night.selection))
    first, second, third = json_rows(answers)
    assert [str(row["uri"]).rpartition("/")[2] for row in (first, second, third)] == [
        "a.wav",
        "b.wav",
        "c.wav",
    ]
    assert (first["label"], first["status"], first["labeler"]) == ("hiss", "uncertain", "nearest-neighbour")
    assert second | {"uri": ""} == {
        "uri": "",
        "label": None,
        "probability": None,
        "margin": None,
        "status": "quarantined",
        "reason": "unsupported",
    }
    lines = list(table_lines(answers))
    assert len(lines) == 4
    assert "quarantined: unsupported" in lines[2]


def test_the_least_sure_come_first_and_before_them_what_has_no_answer(
    runtime: Runtime, folder: Path, manifest: Path, run_id: RunClaim
) -> None:
    build_library(runtime, "sounds", str(manifest), "label", run_id)
    for number in range(6):
        write_clip(folder / f"{number}.wav", tone(440 + 90 * number, seed=number))
    (folder / "3.wav").write_bytes(b"junk")
    request = LabelRequest("sounds")
    night = run_night(runtime, partition_of(str(folder)), request, with_bar, kind="label", export=False)
    doubtful = sorted(night.answers, key=lambda clip: clip.answer.margin if clip.answer else -1.0)
    assert doubtful[0].status == "quarantined"
    assert len({clip.answer and clip.answer.margin for clip in doubtful}) == len(doubtful)
    for count in range(len(doubtful) + 2):
        assert night.answers.least_sure(count) == doubtful[:count]


def test_a_key_and_a_label_forge_no_row_and_reach_programs_as_they_are() -> None:
    key, label = "s3://calls/a\n\x1b[2Kdog  1.000\u202e.wav", "cat\x9b31m"
    answer = Answer(
        uri=key,
        content_sha256=b"",
        work_key=b"",
        task="label",
        labeler="tokens",
        label=label,
        probabilities={label: 1.0},
        margin=1.0,
        min_margin=0.0,
        baselines={},
        is_demonstration=False,
        run_id=UUID(int=0),
        created_at=datetime.now(UTC),
    )
    clips = [ClipAnswer(key, "labeled", answer), ClipAnswer(key, "quarantined", reason="empty")]
    heading, *lines = table_lines(clips)
    assert len(lines) == 2
    assert all(line.isprintable() for line in [heading, *lines])
    [row, _] = json_rows(clips)
    assert (row["uri"], row["label"]) == (key, label)
