"""What answers are learned from follows from its seed, and nothing that measures them is in it."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.training.audio_llm.clips import (
    BLOCK_SAMPLES,
    NOISY_SAMPLES,
    SPOKEN_SAMPLES,
    AnswerSpec,
    answer_clips,
    place,
)
from core.training.data.clips import TrainingClip
from core.training.data.families import Samples

SPEC = AnswerSpec(
    sound_classes=2,
    sound_takes=2,
    voices=0,
    words_per_voice=4,
    digit_takes=2,
    clean_clips=4,
    noisy_forms=2,
    snr=(0.0, 10.0),
    held_out_speakers=("left out",),
    held_out_takes=1,
    seed=3,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write two recorded sets: three takes of a digit, two speakers."""
    root = tmp_path_factory.mktemp("data")
    digits = [
        {"path": f"digits/{take}", "speaker": "a", "take": take, "labels": {"text": "six"}}
        for take in range(3)
    ]
    speech = [{"path": f"speech/{name}", "speaker": name} for name in ("left out", "kept")]
    for name, rows in (("digits", digits), ("speech_clean", speech)):
        (root / name / "dev").mkdir(parents=True)
        lines = "".join(f"{json.dumps(row)}\n" for row in rows)
        (root / name / "dev" / "manifest.jsonl").write_text(lines)
    return root


def reader(path: str) -> Samples:
    assert not path.endswith(("digits/0", "left out")), f"{path} is held out and was read"
    generator = np.random.default_rng(len(path))
    return generator.uniform(-0.3, 0.3, 30_000 if "speech" in path else 6_000).astype(np.float32)


@pytest.fixture(scope="module")
def clips(data: Path) -> list[TrainingClip]:
    pytest.importorskip("shutil").which("espeak-ng") or pytest.skip("espeak-ng is not installed")
    return list(answer_clips(SPEC, data, reader))


def test_held_out_recordings_are_never_read_and_the_others_are(clips: list[TrainingClip]) -> None:
    kinds = [clip.kind for clip in clips]
    assert kinds.count("bare digit") == 2
    assert kinds.count("digit") == 4
    assert kinds.count("sound") == 4
    assert kinds.count("noisy") == 2 * kinds.count("clean") > 0


def test_every_noisy_clip_is_as_long_as_its_clean_one_and_another(clips: list[TrainingClip]) -> None:
    clean = {clip.text: clip.samples for clip in clips if clip.kind == "clean"}
    for clip in clips:
        if clip.kind == "noisy":
            assert len(clip.samples) == len(clean[clip.text]) in (SPOKEN_SAMPLES, NOISY_SAMPLES)
            assert np.abs(clip.samples).max() <= 1
            assert not np.allclose(clip.samples, clean[clip.text], atol=1e-3)


def test_the_same_seed_makes_the_same_clips_and_another_seed_others(
    data: Path, clips: list[TrainingClip]
) -> None:
    again = list(answer_clips(SPEC, data, reader))
    assert all(np.array_equal(one.samples, other.samples) for one, other in zip(clips, again, strict=True))
    others = list(answer_clips(replace(SPEC, seed=4), data, reader))
    assert not np.array_equal(others[0].samples, clips[0].samples)


@pytest.mark.parametrize("length", [1, BLOCK_SAMPLES, 3 * BLOCK_SAMPLES + 7])
def test_a_clip_is_placed_whole_or_cut_to_the_length(length: int) -> None:
    samples = np.arange(1, length + 1, dtype=np.float32)
    placed = place(samples, 2 * BLOCK_SAMPLES, np.random.default_rng(1))
    assert len(placed) == 2 * BLOCK_SAMPLES
    kept = placed[placed > 0]
    assert len(kept) == min(length, 2 * BLOCK_SAMPLES)
    assert np.array_equal(np.diff(kept), np.ones(len(kept) - 1))
