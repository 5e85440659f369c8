import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from core.evaluation.metrics import (
    accuracy,
    expected_calibration_error,
    mel_distance,
    pesq,
    si_sdr,
    stft_loss,
    stoi,
)


def test_accuracy_is_the_share_of_right_answers() -> None:
    assert accuracy(["dog", "cat", "dog"], ["dog", "dog", "dog"]) == pytest.approx(2 / 3)


def test_answers_that_keep_their_promise_have_no_calibration_error() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert expected_calibration_error([1.0] * 3, [True] * 3) == 0


def test_the_error_is_the_broken_part_of_the_promise_bin_by_bin() -> None:
    assert expected_calibration_error([0.9] * 4, [True, False, True, False]) == pytest.approx(0.4)
    both = expected_calibration_error([0.9] * 2 + [0.2] * 2, [True, False, True, False])
    assert both == pytest.approx((0.4 + 0.3) / 2)


@given(answers=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_the_error_lies_between_the_overall_gap_and_one(answers: list[tuple[float, bool]]) -> None:
    confidences, correct = map(list, zip(*answers, strict=True))
    error = expected_calibration_error(confidences, correct)
    assert abs(np.mean(confidences) - np.mean(correct)) - 1e-9 <= error <= 1


@pytest.mark.parametrize(("answers", "gold"), [([], []), (["dog"], ["dog", "cat"])])
def test_nothing_can_be_said_of_no_answers_or_unequal_lists(answers: list[str], gold: list[str]) -> None:
    with pytest.raises(ValueError, match="must be equal"):
        accuracy(answers, gold)
    with pytest.raises(ValueError, match="must be equal"):
        expected_calibration_error([0.5] * len(answers), [True] * len(gold))


def voice(rate: int, seconds: float = 2.0) -> Tensor:
    """Return a signal with harmonics, syllables and pauses."""
    time = np.arange(int(rate * seconds)) / rate
    buzz = sum(np.sin(2 * np.pi * 120 * k * time) / k for k in range(1, 20))
    spoken = buzz * (1 + np.sin(2 * np.pi * 3 * time)) * (np.sin(2 * np.pi * 0.7 * time) > -0.6)
    return torch.from_numpy((0.1 * spoken).astype(np.float32))


def noise(like: Tensor) -> Tensor:
    samples = np.random.default_rng(0).standard_normal(len(like))
    return torch.from_numpy((0.1 * samples).astype(np.float32))


@pytest.mark.parametrize(("gain", "expected"), [(0.3, 0.881664), (1.0, 0.685553), (3.0, 0.448541)])
def test_stoi_is_what_the_package_pystoi_says(gain: float, expected: float) -> None:
    clean = voice(10_000)
    assert stoi(clean, clean + gain * noise(clean), 10_000) == pytest.approx(expected, abs=2e-6)


def test_stoi_hardly_depends_on_the_rate() -> None:
    at = {rate: stoi(voice(rate), voice(rate) + 0.5 * noise(voice(rate)), rate) for rate in (10_000, 16_000)}
    assert at[16_000] == pytest.approx(at[10_000], abs=0.1)
    assert stoi(voice(16_000), voice(16_000), 16_000) == pytest.approx(1)


def test_too_little_sound_has_no_stoi() -> None:
    assert stoi(voice(16_000, 0.3), voice(16_000, 0.3), 16_000) is None
    assert stoi(voice(16_000, 0.01), voice(16_000, 0.01), 16_000) is None
    mostly_silent = torch.cat((voice(16_000, 0.2), torch.zeros(32_000)))
    assert stoi(mostly_silent, mostly_silent, 16_000) is None


def test_noise_costs_si_sdr_decibel_by_decibel() -> None:
    clean = voice(16_000)
    for decibels in (0, 10, 20):
        gain = 10 ** (-decibels / 20) * float(clean.std() / noise(clean).std())
        assert si_sdr(clean, clean + gain * noise(clean)) == pytest.approx(decibels, abs=0.2)


@given(st.floats(0.1, 10), st.floats(-1, 1))
def test_si_sdr_does_not_see_scale_or_offset(scale: float, offset: float) -> None:
    clean = voice(16_000)
    noisy = clean + 0.1 * noise(clean)
    assert si_sdr(clean, scale * noisy + offset) == pytest.approx(si_sdr(clean, noisy), abs=0.01)


def test_si_sdr_at_its_ends() -> None:
    clean = voice(16_000)
    assert si_sdr(clean, 0.5 * clean) == math.inf
    assert si_sdr(clean, torch.zeros_like(clean)) == -math.inf
    with pytest.raises(ValueError, match="silent"):
        si_sdr(torch.zeros(100), clean[:100])


def test_a_louder_copy_is_as_far_as_it_is_louder() -> None:
    hiss = noise(voice(16_000))
    assert mel_distance(hiss, hiss, 16_000) == 0
    assert mel_distance(hiss, 2 * hiss, 16_000) == pytest.approx(20 * math.log10(2), abs=1e-3)
    assert mel_distance(torch.zeros(16_000), torch.full((16_000,), 1e-9), 16_000) == 0


def test_the_stft_loss_of_a_scaled_copy_is_known() -> None:
    clean = voice(16_000) + 0.1 * noise(voice(16_000))
    assert stft_loss(clean, clean) == 0
    assert stft_loss(clean, 0.5 * clean) == pytest.approx(0.5 + math.log(2), abs=1e-3)
    assert stft_loss(clean, torch.zeros_like(clean)) > stft_loss(clean, 0.5 * clean)


def test_the_stft_loss_grows_with_noise() -> None:
    clean = voice(16_000)
    losses = [stft_loss(clean, clean + gain * noise(clean)) for gain in (0.01, 0.1, 1.0)]
    assert losses == sorted(losses)


def test_too_few_samples_have_no_stft_loss() -> None:
    assert stft_loss(noise(voice(16_000))[:1025], voice(16_000)[:1025]) > 0
    with pytest.raises(ValueError, match="1024 samples are too few"):
        stft_loss(voice(16_000)[:1024], voice(16_000)[:1024])


def test_pesq_falls_with_noise() -> None:
    pytest.importorskip("pesq", reason="the package pesq is not installed: it needs a C compiler")
    clean = voice(16_000)
    assert pesq(clean, clean, 16_000) == pytest.approx(4.64, abs=0.01)
    scores = [pesq(clean, clean + gain * noise(clean), 16_000) or 0 for gain in (0.01, 0.1, 1.0)]
    assert scores == sorted(scores, reverse=True)
    with pytest.raises(ValueError, match="16000 Hz"):
        pesq(clean, clean, 8_000)


def test_audio_is_compared_sample_by_sample_in_any_shape_of_one_waveform() -> None:
    clean = voice(16_000)
    assert mel_distance(clean[None, None], clean + 0.01, 16_000) == mel_distance(clean, clean + 0.01, 16_000)
    with pytest.raises(ValueError, match="cut one of them"):
        mel_distance(clean, clean[1:], 16_000)
    with pytest.raises(ValueError, match="one mono waveform"):
        stoi(clean.view(2, -1), clean.view(2, -1), 16_000)
