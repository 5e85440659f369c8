import numpy as np
import pytest

from core.training.data.families import FAMILIES, SAMPLE_RATE, Range, Samples


def loudest_frequency(samples: Samples) -> float:
    return (
        float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples)))))) * SAMPLE_RATE / len(samples)
    )


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("num_samples", [1, 256, 30720])
def test_any_draw_of_a_family_is_finite_and_of_the_asked_length(name: str, num_samples: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        samples = FAMILIES[name].synthesize(FAMILIES[name].draw(rng), rng, num_samples)
        assert samples.shape == (num_samples,)
        assert samples.dtype == np.float32
        assert np.isfinite(samples).all()


@pytest.mark.parametrize("name", FAMILIES)
def test_the_ends_of_every_range_can_be_heard(name: str) -> None:
    family = FAMILIES[name]
    for end in ("low", "high"):
        values = {parameter: getattr(bounds, end) for parameter, bounds in family.ranges.items()}
        samples = family.synthesize(values, np.random.default_rng(1), 16000)
        assert np.isfinite(samples).all()
        assert np.mean(samples**2) > 1e-6


@pytest.mark.parametrize("name", FAMILIES)
def test_jitter_stays_in_range_and_near_the_class(name: str) -> None:
    family, rng = FAMILIES[name], np.random.default_rng(2)
    values = family.draw(rng)
    for _ in range(50):
        near = family.jitter(values, 0.1, rng)
        assert all(bounds.low <= near[key] <= bounds.high for key, bounds in family.ranges.items())
        assert all(abs(near[key] - values[key]) <= 0.7 * abs(values[key]) + 1e-9 for key in values)


def test_a_logarithmic_range_is_drawn_evenly_in_octaves() -> None:
    rng = np.random.default_rng(3)
    drawn = np.array([Range(100, 6400, log=True).draw(rng) for _ in range(4000)])
    assert drawn.min() >= 100
    assert drawn.max() <= 6400
    counts, _ = np.histogram(np.log2(drawn / 100), bins=6, range=(0, 6))
    assert counts.min() > 500


def test_a_pitch_is_heard_at_its_frequency() -> None:
    values = {
        "pitch": 440,
        "partials": 5,
        "tilt": 1.5,
        "even": 1,
        "vibrato": 0,
        "vibrato_rate": 5,
        "glide": 0,
    }
    samples = FAMILIES["harmonic"].synthesize(values, np.random.default_rng(0), 16000)
    assert loudest_frequency(samples) == pytest.approx(440, abs=2)


def test_a_chirp_moves_from_its_start_to_its_end() -> None:
    values = {"start": 500, "end": 4000, "curve": 1, "back": 0, "tilt": 3}
    samples = FAMILIES["chirp"].synthesize(values, np.random.default_rng(0), 32000)
    assert loudest_frequency(samples[:1600]) == pytest.approx(500, rel=0.15)
    assert loudest_frequency(samples[-1600:]) == pytest.approx(4000, rel=0.15)


def test_partials_above_the_band_are_left_out_not_folded_back() -> None:
    values = {
        "pitch": 1500,
        "partials": 24,
        "tilt": 0.2,
        "even": 1,
        "vibrato": 0,
        "vibrato_rate": 5,
        "glide": 0,
    }
    samples = FAMILIES["harmonic"].synthesize(values, np.random.default_rng(0), 16000)
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(16000)))
    between = np.abs(np.arange(len(spectrum)) % 1500 - 750) < 700
    assert spectrum[between].max() < 1e-3 * spectrum.max()
