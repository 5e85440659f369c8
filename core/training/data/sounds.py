"""Rule-made sound events: random classes of parameters, each with any number of takes.

A class is one or two families of `core.training.data.families`, the rhythm of their events, and how much its
takes differ. A take varies the class: nearby parameters, other positions in time, another room, microphone,
background and loudness. Everything follows from the two seeds.
"""

import math
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from core.training.data.families import FAMILIES, SAMPLE_RATE, Samples, shaped_noise

LONGEST_TAIL = 4096
"""Samples of reverberation that may follow the last event (0.26 s)."""

FAST_STEP = 256
"""Events are rendered in multiples of it and cut: Fourier transforms of odd lengths take several times
longer.
"""

REFERENCE_PEAK = 0.9
"""Peak of the loudest take; the quietest is 24 dB lower."""


@dataclass(frozen=True)
class Rhythm:
    """The sequence of events; times in seconds.

    Events last `event` and begin every `period`; after `group` of them comes a `pause`. An infinite event
    fills the clip, an infinite period means one event. `irregularity` is the deviation of the gaps as a share
    of the period. `swell_depth` lowers the sound slowly and periodically, `swell_rate` times a second.
    """

    event: float = math.inf
    period: float = math.inf
    group: int = 1
    pause: float = 0.0
    irregularity: float = 0.0
    attack: float = 0.005
    release: float = 0.03
    swell_rate: float = 0.5
    swell_depth: float = 0.0

    def onsets(self, duration: float, rng: Generator) -> Iterator[float]:
        """Yield the start of each event that begins within `duration`."""
        if math.isinf(self.period):
            room = 0.1 if math.isinf(self.event) else max(duration - self.event, 0.0)
            yield float(rng.uniform(0, min(room, duration / 2)))
            return
        onset, number = float(rng.uniform(0, min(self.period, duration / 2))), 0
        while onset < duration:
            yield onset
            number += 1
            gap = self.period + (self.pause if number % self.group == 0 else 0.0)
            onset += max(gap * (1 + self.irregularity * rng.standard_normal()), 0.25 * self.period)


@dataclass(frozen=True)
class Layer:
    """One family with its parameters, its rhythm and its gain relative to the other layer."""

    family: str
    values: Mapping[str, float]
    rhythm: Rhythm
    gain: float = 1.0


@dataclass(frozen=True)
class SoundClass:
    """A kind of sound.

    `jitter` is the deviation of the parameters of a take, as a share. The signal-to-noise ratio of a take is
    within `snr_db`.
    """

    name: str
    layers: tuple[Layer, ...]
    jitter: float = 0.05
    snr_db: tuple[float, float] = (5.0, 50.0)

    @property
    def caption(self) -> str:
        """Say in words what is heard."""
        return "the sound of " + " and ".join(layer.family.replace("_", " ") for layer in self.layers)

    def render(self, seed: int, duration: float = 1.92) -> Samples:
        """Render one take: (round(duration * 16000),) float32, mono, peak at most 0.9."""
        if duration <= 0:
            raise ValueError(f"a take of {duration} s: the duration must be above 0")
        rng = np.random.default_rng([zlib.crc32(self.name.encode()), seed])
        num_samples = max(1, round(duration * SAMPLE_RATE))
        dry = np.zeros(num_samples, dtype=np.float32)
        for layer in self.layers:
            dry += layer.gain * _render_layer(layer, self.jitter, num_samples, rng)
        recording = _add_background(_through_a_room(dry, rng), self.snr_db, rng)
        loudness = REFERENCE_PEAK * 10 ** (rng.uniform(-24, 0) / 20)
        return (recording * (loudness / max(float(np.abs(recording).max()), 1e-9))).astype(np.float32)


def sound_class(seed: int) -> SoundClass:
    """Return the random class of a seed; a fifth of all classes mixes two families."""
    rng = np.random.default_rng([zlib.crc32(b"sound class"), seed])
    layers = [_draw_layer(rng)]
    if rng.uniform() < 0.2:
        layers.append(_draw_layer(rng, gain=10 ** (rng.uniform(-12, 0) / 20)))
    return SoundClass(f"sound {seed}", tuple(layers), jitter=float(rng.uniform(0.02, 0.15)))


def add_noise(clean: Samples, noise: Samples, snr_db: float) -> Samples:
    """Add noise at a ratio of mean squares in dB, as long as clean; a short noise is repeated.

    The clean part keeps its scale, so the sum may exceed ±1. Raises ValueError when either is all zero.
    """
    noise = np.resize(noise, len(clean))
    clean_power, noise_power = float(np.mean(clean**2)), float(np.mean(noise**2))
    if clean_power == 0 or noise_power == 0:
        silent = "clean" if clean_power == 0 else "noise"
        raise ValueError(f"the {silent} signal is silent: a ratio of {snr_db} dB has no meaning")
    return (clean + noise * math.sqrt(clean_power / noise_power / 10 ** (snr_db / 10))).astype(np.float32)


def _draw_layer(rng: Generator, gain: float = 1.0) -> Layer:
    name = list(FAMILIES)[int(rng.integers(len(FAMILIES)))]
    return Layer(name, FAMILIES[name].draw(rng), _draw_rhythm(rng), gain)


def _draw_rhythm(rng: Generator) -> Rhythm:
    """Draw sustained, swelling, single, repeated or grouped events with equal probability."""
    event = float(np.exp(rng.uniform(np.log(0.05), np.log(0.6))))
    attack = float(np.exp(rng.uniform(np.log(0.002), np.log(0.3 * event))))
    release = float(rng.uniform(0.05, 0.6)) * event
    period = event * float(rng.uniform(1.05, 2.5))
    irregularity = float(rng.uniform(0, 0.3))
    match int(rng.integers(5)):
        case 0:
            return Rhythm(attack=attack)
        case 1:
            depth, rate = float(rng.uniform(0.6, 0.98)), float(rng.uniform(0.4, 2.5))
            return Rhythm(attack=attack, swell_rate=rate, swell_depth=depth)
        case 2:
            return Rhythm(2 * event, attack=attack, release=2 * release)
        case 3:
            return Rhythm(event, period, irregularity=irregularity, attack=attack, release=release)
        case _:
            group, pause = int(rng.integers(2, 6)), float(rng.uniform(0.2, 0.7))
            return Rhythm(event / 2, period / 2, group, pause, irregularity / 2, attack / 2, release / 2)


def _render_layer(layer: Layer, jitter: float, num_samples: int, rng: Generator) -> Samples:
    """Render the events of a layer on an empty clip, with a mean square of 1."""
    family, rhythm = FAMILIES[layer.family], layer.rhythm
    take = family.jitter(layer.values, jitter, rng)
    stretch = float(np.exp(jitter * rng.standard_normal()))
    clip = np.zeros(num_samples, dtype=np.float32)
    for onset in rhythm.onsets(num_samples / SAMPLE_RATE / stretch, rng):
        start = min(round(onset * stretch * SAMPLE_RATE), num_samples - 1)
        length = max(1, round(min(rhythm.event * stretch * SAMPLE_RATE, num_samples - start)))
        size = -(-length // FAST_STEP) * FAST_STEP
        event = family.synthesize(family.jitter(take, jitter / 3, rng), rng, size)[:length]
        clip[start : start + length] += event * _envelope(rhythm, length) * rng.uniform(0.7, 1)
    if rhythm.swell_depth:
        clip *= _swell(rhythm, num_samples, rng)
    return clip / max(math.sqrt(float(np.mean(clip**2))), 1e-6)


def _envelope(rhythm: Rhythm, num_samples: int) -> Samples:
    """Return a rise over the attack and a fall over the release, both without clicks."""
    ahead = np.arange(1, num_samples + 1, dtype=np.float32) / SAMPLE_RATE
    rising = np.minimum(ahead / max(rhythm.attack, 0.001), 1)
    falling = np.minimum(ahead[::-1] / max(rhythm.release, 0.001), 1)
    return np.asarray(rising * falling**2, dtype=np.float32)


def _swell(rhythm: Rhythm, num_samples: int, rng: Generator) -> Samples:
    turns = rhythm.swell_rate * np.arange(num_samples, dtype=np.float32) / SAMPLE_RATE + rng.uniform()
    return 1 - rhythm.swell_depth * (0.5 + 0.5 * np.cos(2 * np.pi * turns).astype(np.float32))


def _through_a_room(dry: Samples, rng: Generator) -> Samples:
    """Apply a small room, a microphone's curve and its upper limit, as one product in the spectrum."""
    num_samples = len(dry)
    size = -(-(num_samples + LONGEST_TAIL) // LONGEST_TAIL) * LONGEST_TAIL
    seconds = np.arange(LONGEST_TAIL, dtype=np.float32) / SAMPLE_RATE
    response = rng.standard_normal(LONGEST_TAIL, dtype=np.float32) * np.exp(
        -seconds / rng.uniform(0.01, 0.06)
    )
    response *= rng.uniform(0, 0.6) / math.sqrt(float(np.sum(response**2)))
    response[0] = 1.0
    octaves = np.log2(np.maximum(np.fft.rfftfreq(size, 1 / SAMPLE_RATE), 20)).astype(np.float32)
    gain_db = np.zeros_like(octaves)
    for center in rng.uniform(math.log2(80), math.log2(7000), 3):
        gain_db += rng.uniform(-6, 6) * np.exp(-0.5 * (octaves - center) ** 2)
    gain_db -= 24 * np.maximum(octaves - math.log2(rng.uniform(2500, 8000)), 0)
    spectrum = np.fft.rfft(dry, size) * np.fft.rfft(response, size) * 10 ** (gain_db / 20)
    return np.fft.irfft(spectrum, size)[:num_samples].astype(np.float32)


def _add_background(signal: Samples, snr_db: tuple[float, float], rng: Generator) -> Samples:
    """Add sloping noise with a random ratio within `snr_db`."""
    if not signal.any():
        return signal
    frequencies = np.maximum(np.fft.rfftfreq(len(signal), 1 / SAMPLE_RATE), 50)
    noise = shaped_noise(rng, len(signal), (frequencies / 1000) ** -rng.uniform(0, 1))
    return add_noise(signal, noise, rng.uniform(*snr_db))
