"""Ten families of synthetic sound events: each renders the samples of one event from a few numbers.

A family has the ranges of its parameters and a function. Classes of sounds, and the rhythm of their events,
are in `core.training.data.sounds`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

SAMPLE_RATE = 16000
MAX_FREQUENCY = 7600.0
"""Hz; higher partials are left out to avoid aliasing."""

Samples = NDArray[np.float32]
Values = Mapping[str, float]


@dataclass(frozen=True)
class Range:
    """Range of a parameter; `log` draws it uniformly in octaves."""

    low: float
    high: float
    log: bool = False

    def draw(self, rng: Generator) -> float:
        if self.log:
            return float(np.exp(rng.uniform(np.log(self.low), np.log(self.high))))
        return float(rng.uniform(self.low, self.high))

    def clip(self, value: float) -> float:
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class SoundFamily:
    """`synthesize(values, rng, num_samples)` returns the samples of one event, without its envelope."""

    ranges: Mapping[str, Range]
    synthesize: Callable[[Values, Generator, int], Samples]

    def draw(self, rng: Generator) -> dict[str, float]:
        return {name: bounds.draw(rng) for name, bounds in self.ranges.items()}

    def jitter(self, values: Values, strength: float, rng: Generator) -> dict[str, float]:
        """Multiply each value by a factor of about 1 ± strength, within its range."""
        factors = np.exp(strength * rng.standard_normal(len(values)))
        moved = {name: values[name] * float(factor) for name, factor in zip(values, factors, strict=True)}
        return {name: self.ranges[name].clip(value) for name, value in moved.items()}


def harmonic(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render a pitch with its partials; odd ones can dominate, as in a clarinet."""
    seconds = _seconds(num_samples)
    wobble = values["vibrato"] * np.sin(2 * np.pi * values["vibrato_rate"] * seconds + _angle(rng))
    pitch = values["pitch"] * (1 + wobble) * 2 ** (values["glide"] * seconds)
    return _partials(pitch, round(values["partials"]), values["tilt"], even=values["even"])


def chirp(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render a sweep from one frequency to another; with `back` near 1 it returns."""
    x = np.linspace(0, 1, num_samples, dtype=np.float32)
    there_and_back = 1 - np.abs(2 * x - 1)
    course = ((1 - values["back"]) * x + values["back"] * there_and_back) ** values["curve"]
    frequency = values["start"] * (values["end"] / values["start"]) ** course
    return _partials(frequency, 3, values["tilt"])


def burst(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render decaying noise with two broad peaks, the upper one decaying first."""
    seconds = _seconds(num_samples)
    centers = (values["center"], values["center"] * values["ratio"])
    low, high = (shaped_noise(rng, num_samples, _bump(num_samples, c, values["width"])) for c in centers)
    low *= np.exp(-seconds / values["decay"])
    high *= np.exp(-3 * seconds / values["decay"])
    return low + high


def modal(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render a struck body: five decaying modes and the noise of the stroke."""
    seconds = _seconds(num_samples)
    ratios = np.cumprod([1.0] + [values[f"ratio{mode}"] for mode in range(1, 5)])
    sound = values["stroke"] * rng.standard_normal(num_samples, dtype=np.float32) * np.exp(-seconds / 0.004)
    for ratio in ratios[values["pitch"] * ratios < MAX_FREQUENCY]:
        decay = values["decay"] * ratio ** -values["damping"]
        wave = np.sin(2 * np.pi * values["pitch"] * ratio * seconds + _angle(rng))
        sound += rng.uniform(0.5, 1) * ratio**-0.5 * np.exp(-seconds / decay) * wave
    return np.asarray(sound, dtype=np.float32)


def pulsed_noise(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render noise with pulsating loudness: wings, motors, sawing."""
    noise = shaped_noise(rng, num_samples, _bump(num_samples, values["center"], values["width"]))
    beat = 0.5 + 0.5 * np.sin(2 * np.pi * values["rate"] * _seconds(num_samples) + _angle(rng))
    loudness = 1 - values["depth"] + values["depth"] * beat ** values["sharpness"]
    return np.asarray(noise * loudness, dtype=np.float32)


def frequency_modulation(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render two oscillators, one modulating the other: metallic to harsh."""
    seconds = _seconds(num_samples)
    index = values["index"] * np.exp(-values["index_decay"] * seconds)
    angle = 2 * np.pi * values["carrier"] * seconds
    bent = np.sin(angle + index * np.sin(values["ratio"] * angle + _angle(rng)))
    return np.asarray(bent, dtype=np.float32)


def steady_noise(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render sloping noise with one peak: wind, water, a fan."""
    frequencies = _frequencies(num_samples)
    slope = (frequencies / 1000) ** -values["slope"]
    peak = values["peak"] * _bump(num_samples, values["center"], values["width"])
    return shaped_noise(rng, num_samples, slope * (1 + peak) * (frequencies > 40))


def voice(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render a glottal pulse train and breath through three formants."""
    x = np.linspace(0, 1, num_samples, dtype=np.float32)
    wander = 1 + 0.02 * np.sin(2 * np.pi * (5 * _seconds(num_samples) + rng.uniform()))
    pitch = values["pitch"] * values["glide"] ** x * wander
    pulses = np.exp(-8 * (_cycles(pitch) % 1)) - 0.125
    source = pulses + values["breath"] * rng.standard_normal(num_samples, dtype=np.float32)
    levels = {"formant1": 1.0, "formant2": 0.6, "formant3": 0.3}
    formants = sum(level * _bump(num_samples, values[name], 0.12) for name, level in levels.items())
    return np.fft.irfft(np.fft.rfft(source) * (formants + 0.01), num_samples).astype(np.float32)


def crackle(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render random short clicks of one body, of very unequal strength: fire, drops, gravel."""
    seconds = _seconds(num_samples)
    clicks = np.zeros(num_samples, dtype=np.float32)
    places = rng.integers(0, num_samples, max(1, rng.poisson(values["rate"] * num_samples / SAMPLE_RATE)))
    np.add.at(clicks, places, rng.lognormal(0, values["spread"], len(places)).astype(np.float32))
    ringing = np.sin(2 * np.pi * values["center"] * seconds)
    ringing += 0.3 * rng.standard_normal(num_samples, dtype=np.float32)
    kernel = np.exp(-seconds / values["decay"]) * ringing
    return np.fft.irfft(np.fft.rfft(clicks) * np.fft.rfft(kernel), num_samples).astype(np.float32)


def siren(values: Values, rng: Generator, num_samples: int) -> Samples:
    """Render a tone that alternates between two pitches; `hardness` makes it jump, `rise` skews it."""
    place = (values["rate"] * _seconds(num_samples) + rng.uniform()) % 1
    rise = values["rise"]
    triangle = np.where(place < rise, place / rise, (1 - place) / (1 - rise)) * 2 - 1
    course = 0.5 + 0.5 * np.tanh(values["hardness"] * triangle) / np.tanh(values["hardness"])
    return _partials(values["low"] * values["interval"] ** course, 5, values["tilt"])


def shaped_noise(rng: Generator, num_samples: int, gain: NDArray[np.floating]) -> Samples:
    """Return Gaussian noise with the given gain per frequency, (num_samples // 2 + 1,)."""
    real, imaginary = rng.standard_normal((2, num_samples // 2 + 1), dtype=np.float32) * gain
    return _normalized(np.fft.irfft(real + 1j * imaginary, num_samples))


def _partials(frequency: NDArray[np.floating], count: int, tilt: float, *, even: float = 1.0) -> Samples:
    """Return partials 1 to `count` of a moving pitch, falling by `tilt`; even ones are scaled by `even`."""
    count = min(count, max(1, int(MAX_FREQUENCY / max(float(frequency.max(initial=0)), 1.0))))
    turn = np.exp(2j * np.pi * (_cycles(frequency) % 1)).astype(np.complex64)
    wave, total = turn.copy(), np.zeros(len(turn), dtype=np.float32)
    for number in range(1, count + 1):
        total += number**-tilt * (1.0 if number % 2 else even) * wave.imag
        wave *= turn
    return total


def _seconds(num_samples: int) -> Samples:
    return np.arange(num_samples, dtype=np.float32) / np.float32(SAMPLE_RATE)


def _cycles(frequency: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.cumsum(frequency, dtype=np.float64) / SAMPLE_RATE


def _angle(rng: Generator) -> float:
    return float(rng.uniform(0, 2 * np.pi))


def _frequencies(num_samples: int) -> Samples:
    return np.asarray(np.maximum(np.fft.rfftfreq(num_samples, 1 / SAMPLE_RATE), 1), dtype=np.float32)


def _bump(num_samples: int, center: float, width: float) -> Samples:
    """Return a smooth peak at `center` Hz, `width` in units of e (0.35 is half an octave)."""
    distance = np.log(_frequencies(num_samples) / center) / width
    return np.asarray(np.exp(-0.5 * distance**2), dtype=np.float32)


def _normalized(samples: NDArray[np.floating]) -> Samples:
    """Scale the samples to a mean square of 1, so that layers can be weighted against each other."""
    power = float(np.mean(samples**2)) if len(samples) else 0.0
    return np.asarray(samples / np.sqrt(power + 1e-12), dtype=np.float32)


FAMILIES: Mapping[str, SoundFamily] = {
    "harmonic": SoundFamily(
        {
            "pitch": Range(50, 1500, log=True),
            "partials": Range(3, 24),
            "tilt": Range(0.2, 2.2),
            "even": Range(0.02, 1),
            "vibrato": Range(0.0005, 0.04, log=True),
            "vibrato_rate": Range(3, 9),
            "glide": Range(-0.6, 0.6),
        },
        harmonic,
    ),
    "chirp": SoundFamily(
        {
            "start": Range(250, 5500, log=True),
            "end": Range(250, 5500, log=True),
            "curve": Range(0.4, 2.5, log=True),
            "back": Range(0, 1),
            "tilt": Range(0.8, 3),
        },
        chirp,
    ),
    "burst": SoundFamily(
        {
            "center": Range(150, 3500, log=True),
            "ratio": Range(1.3, 4),
            "width": Range(0.12, 0.8, log=True),
            "decay": Range(0.012, 0.4, log=True),
        },
        burst,
    ),
    "modal": SoundFamily(
        {
            "pitch": Range(120, 2500, log=True),
            **{f"ratio{mode}": Range(1.15, 2.2) for mode in range(1, 5)},
            "decay": Range(0.02, 1.2, log=True),
            "damping": Range(0.1, 1.4),
            "stroke": Range(0.05, 1.5, log=True),
        },
        modal,
    ),
    "pulsed_noise": SoundFamily(
        {
            "center": Range(120, 5000, log=True),
            "width": Range(0.15, 1.2, log=True),
            "rate": Range(3, 60, log=True),
            "depth": Range(0.5, 1),
            "sharpness": Range(0.7, 5, log=True),
        },
        pulsed_noise,
    ),
    "frequency_modulation": SoundFamily(
        {
            "carrier": Range(120, 3500, log=True),
            "ratio": Range(0.25, 4.5),
            "index": Range(0.5, 9, log=True),
            "index_decay": Range(0.1, 12, log=True),
        },
        frequency_modulation,
    ),
    "steady_noise": SoundFamily(
        {
            "slope": Range(-0.5, 1.6),
            "peak": Range(0.2, 12, log=True),
            "center": Range(150, 6000, log=True),
            "width": Range(0.08, 0.8, log=True),
        },
        steady_noise,
    ),
    "voice": SoundFamily(
        {
            "pitch": Range(80, 700, log=True),
            "glide": Range(0.5, 1.9, log=True),
            "formant1": Range(280, 1000, log=True),
            "formant2": Range(800, 2500, log=True),
            "formant3": Range(2200, 4000, log=True),
            "breath": Range(0.01, 0.6, log=True),
        },
        voice,
    ),
    "crackle": SoundFamily(
        {
            "rate": Range(6, 600, log=True),
            "spread": Range(0.2, 1.6),
            "center": Range(250, 6500, log=True),
            "decay": Range(0.0008, 0.02, log=True),
        },
        crackle,
    ),
    "siren": SoundFamily(
        {
            "low": Range(220, 2200, log=True),
            "interval": Range(1.15, 2.6, log=True),
            "rate": Range(0.4, 22, log=True),
            "rise": Range(0.08, 0.92),
            "hardness": Range(0.3, 12, log=True),
            "tilt": Range(0.5, 2.5),
        },
        siren,
    ),
}
