import json
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.audio.resampling import read_waveform
from core.errors import AudioRejected
from flows.cli.demo.clips import LIBRARY_TAKES, QUERY_TAKES, SOUNDS, SPEECH, DemoClips, write_demo_clips

LABELS = {*SOUNDS, SPEECH}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> DemoClips:
    return write_demo_clips(tmp_path_factory.mktemp("demo"), seed=0)


def rows(manifest: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def test_every_label_has_its_clips_in_the_library_and_in_the_truth(written: DemoClips) -> None:
    assert Counter(row["label"] for row in rows(written.library)) == dict.fromkeys(LABELS, LIBRARY_TAKES)
    assert Counter(row["label"] for row in rows(written.truth)) == dict.fromkeys(LABELS, QUERY_TAKES)


def test_every_row_is_a_mono_16_khz_clip_of_one_to_three_seconds(written: DemoClips) -> None:
    for manifest in (written.library, written.truth):
        for row in rows(manifest):
            info = soundfile.info(manifest.parent / row["path"])
            assert (info.samplerate, info.channels, info.subtype) == (16000, 1, "PCM_16")
            assert 1 <= info.duration <= 3


def test_no_two_clips_are_alike_and_none_is_silent_or_clipped(written: DemoClips) -> None:
    clips = [written.truth.parent / row["path"] for row in rows(written.truth) + rows(written.library)]
    assert len({clip.read_bytes() for clip in clips}) == len(clips)
    peaks = [np.abs(soundfile.read(clip)[0]).max() for clip in clips]
    assert 0.03 < min(peaks) < max(peaks) < 0.95


def test_names_and_order_of_the_clips_do_not_give_the_labels_away(written: DemoClips) -> None:
    truth = rows(written.truth)
    assert [row["path"] for row in truth] == [
        f"clips/{number:03}.flac" for number in range(1, len(truth) + 1)
    ]
    changes = sum(one["label"] != other["label"] for one, other in pairwise(truth))
    assert changes > len(truth) / 2


def test_one_file_is_cut_short_and_has_no_truth(written: DemoClips) -> None:
    listed = {Path(row["path"]).name for row in rows(written.truth)}
    assert {clip.name for clip in written.clips.iterdir()} - listed == {"cut-short.flac"}
    with pytest.raises(AudioRejected) as rejected:
        read_waveform(written.clips / "cut-short.flac", 16000)
    assert rejected.value.reason in ("truncated", "unreadable")


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_clips(written: DemoClips, tmp_path: Path) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*.flac")}

    first = contents(written.truth.parent)
    write_demo_clips(tmp_path / "again", seed=0)
    write_demo_clips(tmp_path / "other", seed=1)
    assert contents(tmp_path / "again") == first
    assert contents(tmp_path / "other") != first


def test_writing_the_clips_needs_no_model_library() -> None:
    code = (
        "import flows.cli.demo.clips, sys; assert 'torch' not in sys.modules and 'prefect' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
