"""A clip of any rate passes through a denoiser at its own rate, whatever its length and however it is cut."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.audio.denoiser import Denoiser, Unchanged, denoise_at
from core.decoding.audio_stream import Samples
from core.errors import AudioRejected
from tests.spectral_gate import SpectralGate

RATES = (8_000, 11_025, 16_000, 22_050, 44_100, 48_000, 96_000)


def in_blocks(samples: Samples, block: int) -> Iterator[Samples]:
    return (samples[start : start + block] for start in range(0, len(samples), block))


def denoised(denoiser: Denoiser, samples: Samples, rate: int, block: int = 4096) -> Samples:
    return np.concatenate([np.zeros(0, np.float32), *denoise_at(denoiser, in_blocks(samples, block), rate)])


def noise(count: int, seed: int = 0) -> Samples:
    return (0.1 * np.random.default_rng(seed).standard_normal(count)).astype(np.float32)


@settings(max_examples=25)
@given(rate=st.sampled_from(RATES), count=st.integers(1, 6_000), block=st.integers(100, 9_000))
def test_as_many_samples_come_as_went_in(rate: int, count: int, block: int) -> None:
    assert len(denoised(SpectralGate(), noise(count), rate, block)) == count


@settings(max_examples=25)
@given(count=st.integers(1, 6_000), block=st.integers(1, 9_000))
def test_a_clip_that_is_left_as_it_is_has_the_same_bits(count: int, block: int) -> None:
    samples = noise(count)
    assert np.array_equal(denoised(Unchanged(), samples, 22_050, block), samples)


@settings(max_examples=25)
@given(first=st.integers(100, 3_000), second=st.integers(100, 3_000))
def test_the_answer_does_not_depend_on_how_a_clip_arrives(first: int, second: int) -> None:
    one, other = (denoised(SpectralGate(), noise(9_000), 44_100, block) for block in (first, second))
    assert np.array_equal(one, other)


def test_the_band_over_the_codecs_rate_is_kept() -> None:
    tone = (0.3 * np.sin(2 * np.pi * 15_000 / 44_100 * np.arange(44_100))).astype(np.float32)
    wide = SpectralGate(threshold=0.0)
    wide.sample_rate = 48_000
    kept = denoised(wide, tone, 44_100)
    assert np.abs(kept - tone)[2_000:-2_000].max() < 0.01


def test_a_rate_that_needs_too_large_a_kernel_is_refused() -> None:
    with pytest.raises(AudioRejected, match="bad_rate"):
        denoised(SpectralGate(), noise(1000), 44_101)
