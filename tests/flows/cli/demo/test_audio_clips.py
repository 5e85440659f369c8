import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.in_context.baselines import FloatArray
from flows.cli.demo.audio_clips import NOISY, PAIRS, SNR_DB, TAKES, AudioClips, write_audio_clips
from flows.cli.demo.clips import SOUNDS
from flows.cli.demo.show_audio import SOUND_TEXTS, SPOKEN_TEXTS


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> AudioClips:
    return write_audio_clips(tmp_path_factory.mktemp("demo"), seed=0)


def rows(manifest: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]


def read(path: Path) -> FloatArray:
    samples, rate = soundfile.read(path)
    assert rate == 16_000
    read: FloatArray = samples
    return read


def test_every_text_that_is_asked_for_is_shown_as_often_as_the_others(written: AudioClips) -> None:
    digits, sounds = (
        Counter(row["text"] for row in rows(manifest)) for manifest in (written.digits, written.sounds)
    )
    assert digits == dict.fromkeys(map(str, range(10)), TAKES)
    assert sounds == dict.fromkeys(SOUNDS, TAKES)
    assert set(SPOKEN_TEXTS) <= set(digits)
    assert set(SOUND_TEXTS) <= set(sounds)


def test_a_noisy_clip_is_its_clean_one_and_noise_of_the_stated_ratio(written: AudioClips) -> None:
    folder = written.pairs.parent
    pairs = [(folder / row["path"], folder / row["target"]) for row in rows(written.pairs)]
    pairs += [(path, written.clean / path.name) for path in sorted(written.noisy.iterdir())]
    assert len(pairs) == PAIRS + NOISY
    for noisy, clean in (map(read, pair) for pair in pairs):
        assert len(noisy) == len(clean)
        scale = (noisy @ clean) / (clean @ clean)  # noise and speech have next to nothing in common
        noise = noisy - scale * clean
        ratio = 10 * np.log10(np.mean((scale * clean) ** 2) / np.mean(noise**2))
        assert ratio == pytest.approx(SNR_DB, abs=0.5)
        assert np.abs(noisy).max() <= 1


def test_what_is_to_lose_its_noise_is_not_shown(written: AudioClips) -> None:
    shown = {(written.pairs.parent / row["target"]).read_bytes() for row in rows(written.pairs)}
    assert shown.isdisjoint(path.read_bytes() for path in written.clean.iterdir())


def test_equal_seeds_give_equal_bytes_and_other_seeds_other_noise(
    written: AudioClips, tmp_path: Path
) -> None:
    def noisy(clips: AudioClips) -> list[bytes]:
        return [path.read_bytes() for path in sorted(clips.noisy.iterdir())]

    assert noisy(write_audio_clips(tmp_path / "again", seed=0)) == noisy(written)
    assert noisy(write_audio_clips(tmp_path / "other", seed=1)) != noisy(written)


def test_writing_the_clips_needs_no_model_library() -> None:
    code = "import flows.cli.demo.audio_clips, sys; assert not {'torch', 'prefect'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
