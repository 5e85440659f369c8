import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.in_context.baselines import FloatArray
from core.training.data.families import FAMILIES, Samples
from core.training.data.sounds import Rhythm, SoundClass, add_noise, sound_class

SEEDS = st.integers(0, 2**32)


def profile(samples: Samples) -> FloatArray:
    """Return mean and deviation over time of 24 log bands: enough to tell kinds of sound apart."""
    frames = np.lib.stride_tricks.sliding_window_view(samples, 512)[::256] * np.hanning(512)
    power = np.abs(np.fft.rfft(frames))[:, 1:] ** 2
    edges = np.unique(np.geomspace(2, 256, 25).astype(int))
    bands = np.log(np.add.reduceat(power, edges[:-1], axis=1) + 1e-6)
    return np.concatenate([bands.mean(0), bands.std(0)])


@given(SEEDS, SEEDS, st.floats(0.01, 3))
@settings(max_examples=50, deadline=None)
def test_a_take_is_finite_audible_and_of_the_asked_length(kind: int, take: int, duration: float) -> None:
    samples = sound_class(kind).render(take, duration)
    assert samples.dtype == np.float32
    assert samples.shape == (round(duration * 16000),)
    assert np.isfinite(samples).all()
    assert 0.05 < np.abs(samples).max() < 0.901


def test_equal_seeds_give_equal_samples() -> None:
    np.testing.assert_array_equal(sound_class(7).render(3), sound_class(7).render(3))


def test_takes_of_a_class_differ_and_so_do_classes() -> None:
    assert not np.array_equal(sound_class(7).render(3), sound_class(7).render(4))
    assert sound_class(7) != sound_class(8)


def test_two_takes_of_a_class_are_mostly_nearer_than_takes_of_other_classes() -> None:
    classes = [sound_class(seed) for seed in range(60)]
    first = np.stack([profile(kind.render(0)) for kind in classes])
    second = np.stack([profile(kind.render(1)) for kind in classes])
    scale = first.std(axis=0)
    distances = np.linalg.norm((first[:, None] - second[None]) / scale, axis=2)
    nearer = np.mean(np.diag(distances)[:, None] < distances)
    assert 0.7 < nearer < 0.95  # chance is 0.5; a task without errors would teach nothing


def test_all_families_occur_and_about_a_fifth_are_mixtures() -> None:
    classes = [sound_class(seed) for seed in range(2000)]
    families = Counter(layer.family for kind in classes for layer in kind.layers)
    assert set(families) == set(FAMILIES)
    assert 0.17 < np.mean([len(kind.layers) == 2 for kind in classes]) < 0.23
    assert all(0.02 <= kind.jitter <= 0.15 for kind in classes)


def test_no_duration_is_an_error_that_says_so() -> None:
    with pytest.raises(ValueError, match="a take of 0 s"):
        sound_class(0).render(0, 0)


def test_a_class_without_sound_renders_silence() -> None:
    assert not SoundClass("nothing", ()).render(0, 0.5).any()


@given(SEEDS, st.floats(0.1, 4))
def test_events_start_inside_the_clip_and_in_order(seed: int, duration: float) -> None:
    rhythm = Rhythm(event=0.1, period=0.15, group=3, pause=0.4, irregularity=0.3)
    onsets = list(rhythm.onsets(duration, np.random.default_rng(seed)))
    assert onsets
    assert all(0 <= onset < duration for onset in onsets)
    assert onsets == sorted(onsets)


def test_groups_are_parted_by_pauses() -> None:
    rhythm = Rhythm(event=0.05, period=0.1, group=3, pause=0.5)
    onsets = list(rhythm.onsets(3, np.random.default_rng(0)))
    assert np.diff(onsets[:7]) == pytest.approx([0.1, 0.1, 0.6, 0.1, 0.1, 0.6])


@pytest.mark.parametrize("event", [0.2, math.inf])
def test_an_infinite_period_means_one_event(event: float) -> None:
    assert len(list(Rhythm(event=event).onsets(2.0, np.random.default_rng(0)))) == 1


@given(st.floats(-20, 60), st.integers(10, 3000))
def test_noise_is_added_at_the_asked_ratio(snr_db: float, noise_length: int) -> None:
    rng = np.random.default_rng(0)
    clean, noise = (rng.standard_normal(n).astype(np.float32) for n in (2000, noise_length))
    added = add_noise(clean, noise, snr_db).astype(np.float64) - clean
    measured = 10 * np.log10(np.mean(clean.astype(np.float64) ** 2) / np.mean(added**2))
    assert measured == pytest.approx(snr_db, abs=0.05)


@pytest.mark.parametrize("silent", ["clean", "noise"])
def test_a_ratio_to_silence_is_an_error_that_names_the_silent_signal(silent: str) -> None:
    signals = {
        "clean": np.ones(10, np.float32),
        "noise": np.ones(10, np.float32),
        silent: np.zeros(10, np.float32),
    }
    with pytest.raises(ValueError, match=f"the {silent} signal is silent"):
        add_noise(signals["clean"], signals["noise"], 10)
