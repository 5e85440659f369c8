import numpy as np
import pytest

from core.embeddings.front_end import Waveform, mel_filters, read_front_end
from core.embeddings.recipes import YAMNET, YAMNET_FRAMES


def test_yamnets_window_is_96_frames_of_25_ms_every_10_ms() -> None:
    assert YAMNET_FRAMES.window_samples == 15_600 == YAMNET.description.window
    assert YAMNET_FRAMES.shape(15_600, 16_000) == (96, 64)
    features = YAMNET_FRAMES.features(np.zeros(15_600, np.float32), 16_000)
    assert features.shape == (96, 64)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, np.log(0.001), rtol=1e-6)


def test_a_tone_is_in_the_band_of_its_frequency() -> None:
    seconds = np.arange(15_600) / 16_000
    tone = np.sin(2 * np.pi * 1_000 * seconds).astype(np.float32)
    loudest = YAMNET_FRAMES.features(tone, 16_000).mean(axis=0).argmax()
    low, high = 1127 * np.log1p(np.array([125.0, 7500.0]) / 700)
    edges = 700 * np.expm1(np.linspace(low, high, 66) / 1127)
    assert edges[loudest] < 1_000 < edges[loudest + 2]


def test_mel_bands_are_triangles_in_mel_without_the_offset() -> None:
    filters = mel_filters(YAMNET_FRAMES, 16_000)
    assert filters.shape == (257, 64)
    assert not filters[0].any()
    assert filters.max() <= 1
    # frequencies between the first and the last center lie in two bands, whose weights add up to one
    np.testing.assert_allclose(filters[6:230].sum(axis=1), 1, atol=1e-5)


def test_front_ends_come_back_from_their_numbers() -> None:
    assert read_front_end(YAMNET_FRAMES.as_json()) == YAMNET_FRAMES
    assert read_front_end(Waveform().as_json()) == Waveform()


@pytest.mark.parametrize(
    ("numbers", "reason"),
    [
        ({"type": "mfcc"}, "front end is 'mfcc': there are log_mel, mel_power, waveform"),
        ({"type": "waveform", "frames": 3}, r"numbers \['frames'\], needed are \[\]"),
        (YAMNET_FRAMES.as_json() | {"frame_length": 600}, "fft_length is 512, it must be from frame_length"),
        (YAMNET_FRAMES.as_json() | {"mel_bins": 0}, "whole numbers of at least 1"),
        (YAMNET_FRAMES.as_json() | {"min_hz": 8000.0}, "min_hz < max_hz"),
    ],
)
def test_numbers_that_do_not_fit_are_refused(numbers: dict[str, object], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        read_front_end(numbers)


def test_a_band_beyond_half_the_rate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"max_hz is 7500\.0, at most half the sample rate 8000"):
        YAMNET_FRAMES.shape(15_600, 8_000)
