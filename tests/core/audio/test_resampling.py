import io
from collections.abc import Callable, Iterator
from itertools import islice, repeat
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from hypothesis import given
from hypothesis import strategies as st

from core.audio.resampling import (
    _MAX_CACHED_BYTES,
    _kernel_bytes,
    _resamplers,
    flac_bytes,
    paper_second,
    read_waveform,
    resample_blocks,
    wav_bytes,
)
from core.audio.torchaudio_cpu import torchaudio
from core.decoding.audio_stream import AudioLimits, Samples
from core.decoding.in_process import open_audio
from core.errors import AudioRejected

NOISE = np.random.default_rng(0).uniform(-1, 1, 300_000).astype(np.float32)

rates = st.sampled_from(
    [4_000, 8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000, 192_000]
)
# One-sample clips, and lengths that end just before, on and behind the edge of a chunk of any of the rates.
lengths = st.one_of(st.integers(1, 3_000), st.integers(65_400, 66_200), st.integers(130_900, 131_700))


def cut(samples: Samples, block_length: int) -> Iterator[Samples]:
    return (samples[start : start + block_length] for start in range(0, len(samples), block_length))


def resampled(samples: Samples, source_rate: int, target_rate: int, block_length: int) -> Samples:
    return np.concatenate(list(resample_blocks(cut(samples, block_length), source_rate, target_rate)))


@given(length=lengths, source_rate=rates, block_length=st.integers(700, 70_000))
def test_a_resampled_stream_equals_the_whole_signal_resampled(
    length: int, source_rate: int, block_length: int
) -> None:
    streamed = resampled(NOISE[:length], source_rate, 16_000, block_length)
    whole = torchaudio.functional.resample(torch.from_numpy(NOISE[:length]), source_rate, 16_000).numpy()
    assert len(streamed) == -(-length * 16_000 // source_rate)
    # torchaudio computes its length in float32, and can lose the last sample of a long signal.
    assert len(streamed) - len(whole) in {0, 1}
    np.testing.assert_allclose(streamed[: len(whole)], whole, atol=1e-6, rtol=0)


@given(length=lengths, target_rate=rates)
def test_any_target_rate_will_do(length: int, target_rate: int) -> None:
    streamed = resampled(NOISE[:length], 44_100, target_rate, 65_536)
    whole = torchaudio.functional.resample(torch.from_numpy(NOISE[:length]), 44_100, target_rate).numpy()
    assert len(streamed) == -(-length * target_rate // 44_100)
    np.testing.assert_allclose(streamed[: len(whole)], whole[: len(streamed)], atol=1e-6, rtol=0)


@given(
    length=lengths,
    source_rate=rates,
    block_lengths=st.tuples(st.integers(700, 70_000), st.integers(700, 70_000)),
)
def test_how_a_stream_is_cut_changes_no_bit(
    length: int, source_rate: int, block_lengths: tuple[int, int]
) -> None:
    one, other = (
        resampled(NOISE[:length], source_rate, 16_000, block_length) for block_length in block_lengths
    )
    np.testing.assert_array_equal(one, other)


def test_blocks_at_the_target_rate_pass_untouched() -> None:
    blocks = [NOISE[:5], NOISE[5:90]]
    assert all(
        out is block for out, block in zip(resample_blocks(blocks, 16_000, 16_000), blocks, strict=True)
    )


def test_an_endless_stream_is_resampled_as_it_comes() -> None:
    outputs = list(islice(resample_blocks(repeat(NOISE[:10_000]), 44_100, 16_000), 5))
    assert max(map(len, outputs)) < 25_000


@pytest.mark.parametrize(("source_rate", "target_rate"), [(44_101, 16_000), (16_000, 191_999)])
def test_rates_without_a_common_divisor_are_refused_before_a_block_is_read(
    source_rate: int, target_rate: int
) -> None:
    with pytest.raises(AudioRejected, match="resampling kernel") as caught:
        next(resample_blocks(iter(range(0)), source_rate, target_rate))  # type: ignore[arg-type]
    assert caught.value.reason == "bad_rate"


def test_the_kernel_that_is_bounded_is_the_one_torchaudio_makes() -> None:
    kernel = torchaudio.transforms.Resample(44_100, 16_000).kernel
    limits = AudioLimits(max_kernel_bytes=kernel.numel() * 4)
    assert list(resample_blocks([NOISE[:441]], 44_100, 16_000, limits))
    smaller = AudioLimits(max_kernel_bytes=kernel.numel() * 4 - 1)
    with pytest.raises(AudioRejected):
        list(resample_blocks([NOISE[:441]], 44_100, 16_000, smaller))


@pytest.fixture
def stereo(tmp_path: Path) -> Path:
    path = tmp_path / "stereo"
    soundfile.write(path, NOISE[:88_200].reshape(-1, 2), 44_100, format="FLAC")
    return path


def test_a_waveform_is_mono_at_the_rate_that_was_asked(stereo: Path) -> None:
    waveform, info = read_waveform(stereo, 16_000)
    assert waveform.shape == (1, 1, 16_000)
    assert waveform.dtype == torch.float32
    assert (info.sample_rate, info.channels, info.num_samples) == (44_100, 2, 44_100)
    with stereo.open("rb") as file:
        mono = np.concatenate(list(open_audio(file)))
    whole = torchaudio.functional.resample(torch.from_numpy(mono), 44_100, 16_000)
    torch.testing.assert_close(waveform[0, 0], whole, atol=1e-6, rtol=0)


def test_a_path_and_its_bytes_give_the_same_waveform(stereo: Path) -> None:
    from_path, info = read_waveform(str(stereo), 16_000)
    from_bytes, same_info = read_waveform(stereo.read_bytes(), 16_000)
    assert torch.equal(from_path, from_bytes)
    assert info == same_info


def test_bytes_that_are_no_audio_are_rejected() -> None:
    with pytest.raises(AudioRejected, match="unsupported"):
        read_waveform(b"hello", 16_000)
    with pytest.raises(AudioRejected, match="empty"):
        read_waveform(b"", 16_000)


@pytest.mark.parametrize("length", [1, 15_999, 16_000, 40_000])
def test_the_papers_clip_is_the_first_second(length: int) -> None:
    waveform = torch.arange(1, length + 1, dtype=torch.float32)[None, None]
    second = paper_second(waveform, 16_000)
    kept = min(length, 16_000)
    assert second.shape == (1, 1, 16_000)
    assert torch.equal(second[..., :kept], waveform[..., :kept])
    assert not second[..., kept:].any()


def read_wav(content: bytes) -> tuple[Samples, int, str]:
    with soundfile.SoundFile(io.BytesIO(content)) as file:
        return file.read(dtype="float32"), file.samplerate, file.subtype


@pytest.mark.parametrize(
    "shape", [lambda wave: wave, lambda wave: wave[None, None]], ids=["(T,)", "(1, 1, T)"]
)
def test_wav_bytes_hold_the_waveform_in_16_bits(shape: Callable[[torch.Tensor], torch.Tensor]) -> None:
    content = wav_bytes(shape(torch.from_numpy(NOISE[:1000])), 16_000)
    samples, rate, subtype = read_wav(content)
    assert (rate, subtype) == (16_000, "PCM_16")
    np.testing.assert_allclose(samples, NOISE[:1000], atol=2**-15)
    assert content == wav_bytes(torch.from_numpy(NOISE[:1000]), 16_000)


def test_wav_bytes_clip_what_passes_full_scale() -> None:
    samples, _, _ = read_wav(wav_bytes(torch.tensor([2.0, -2.0, 0.0]), 16_000))
    np.testing.assert_allclose(samples, [1, -1, 0], atol=2**-15)


def test_wav_bytes_refuse_more_than_one_mono_waveform() -> None:
    with pytest.raises(ValueError, match="mono"):
        wav_bytes(torch.zeros(1, 2, 100), 16_000)


def test_flac_bytes_hold_the_waveform_to_a_step_of_16_bits() -> None:
    waveform = torch.from_numpy(NOISE[:5000])
    wav, flac = (read_waveform(write(waveform, 16_000), 16_000)[0] for write in (wav_bytes, flac_bytes))
    assert torch.allclose(wav, flac, rtol=0, atol=1 / 32_768)


def test_odd_rates_leave_bounded_memory_behind() -> None:
    sound = np.zeros(100, np.float32)
    for rate in range(24_010, 24_210, 20):
        list(resample_blocks([sound], rate, 16_000))
    assert 0 < sum(map(_kernel_bytes, _resamplers.values())) <= _MAX_CACHED_BYTES
