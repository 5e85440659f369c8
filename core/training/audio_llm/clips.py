"""The audio that a small LLaMA learns to generate: sounds, spoken words and digits, speech with noise.

Sounds are rule-made and words come from espeak-ng; digits and clean speech are recorded, except those held
out for evaluation. A noisy clip has the number of its clean one.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from core.training.data.clips import BankSpec, Reader, TrainingClip, draw_manner, spoken, spoken_clips
from core.training.data.corpus import read_word_list
from core.training.data.families import SAMPLE_RATE, Samples
from core.training.data.sounds import add_noise, sound_class

BLOCK_SAMPLES = 3840
"""Samples of a block of codes: clips are whole blocks, so all answers of a prompt can have equal length."""

SPOKEN_SAMPLES = 3 * BLOCK_SAMPLES
NOISY_SAMPLES = 6 * BLOCK_SAMPLES
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


@dataclass(frozen=True, slots=True)
class AnswerSpec:
    """The amount of each kind of audio, all drawn from `seed`.

    sound_classes of sound_takes clips; voices with words_per_voice words, each twice; digit_takes variants of
    every recorded digit; noisy_forms of each of about clean_clips pieces of clean speech, with a
    signal-to-noise ratio within `snr` in dB. held_out_speakers of the recorded speech, and digits of takes
    below held_out_takes, are never read.
    """

    sound_classes: int
    sound_takes: int
    voices: int
    words_per_voice: int
    digit_takes: int
    clean_clips: int
    noisy_forms: int
    snr: tuple[float, float]
    held_out_speakers: tuple[str, ...]
    held_out_takes: int
    seed: int


def answer_clips(spec: AnswerSpec, data: Path, reader: Reader) -> Iterator[TrainingClip]:
    """Yield all clips; the text of a spoken one is its voice and its words, separated by a tab."""
    yield from _sounds(spec)
    yield from _words(spec)
    digits = list(_digits(spec, data, reader))
    yield from digits
    yield from _noisy_speech(spec, [*_clean_speech(spec, data, reader, digits)])


def _sounds(spec: AnswerSpec) -> Iterator[TrainingClip]:
    for number in range(spec.sound_classes):
        kind = sound_class(spec.seed * 1_000_000 + number)
        for take in range(spec.sound_takes):
            yield TrainingClip(kind.render(take, 8 * BLOCK_SAMPLES / SAMPLE_RATE), "sound", kind.name)


def _words(spec: AnswerSpec) -> Iterator[TrainingClip]:
    """Yield four digits and other words of each voice, each twice, the second time slightly faster or
    slower.
    """
    rng = np.random.default_rng([spec.seed, 2])
    listed = sorted({word for kind in read_word_list().values() for word in kind if word.isalpha()})
    for number in range(spec.voices):
        voice, speed, pitch = draw_manner(rng)
        words = [*rng.choice(DIGITS, 4, replace=False), *rng.choice(listed, spec.words_per_voice - 4)]
        for word in words:
            for rate in (speed, speed + int(rng.integers(-25, 25))):
                samples = place(spoken(word, (voice, rate, pitch)), SPOKEN_SAMPLES, rng)
                yield TrainingClip(samples, "word", f"{number}\t{word}")


def _digits(spec: AnswerSpec, data: Path, reader: Reader) -> Iterator[TrainingClip]:
    """Yield every recorded digit unchanged, then at other speeds and positions in a clip of three blocks."""
    rng = np.random.default_rng([spec.seed, 3])
    for row in _rows(data / "digits"):
        if row["take"] < spec.held_out_takes:
            continue
        samples, text = reader(str(data / row["path"])), f"{row['speaker']}\t{row['labels']['text']}"
        yield TrainingClip(samples, "bare digit", text)
        for _ in range(spec.digit_takes):
            yield TrainingClip(place(_changed(samples, rng), SPOKEN_SAMPLES, rng), "digit", text)


def _clean_speech(
    spec: AnswerSpec, data: Path, reader: Reader, digits: list[TrainingClip]
) -> Iterator[Samples]:
    """Yield half recorded speech, a quarter recorded digits and a quarter phrases by espeak-ng."""
    rng = np.random.default_rng([spec.seed, 4])
    rows = [r for r in _rows(data / "speech_clean") if r["speaker"] not in spec.held_out_speakers]
    speech = [reader(str(data / row["path"])) for row in rows]
    lengths = np.array([len(samples) for samples in speech], np.float64)
    for number in rng.choice(len(speech), spec.clean_clips // 2, p=lengths / lengths.sum()):
        yield place(_changed(speech[number], rng), NOISY_SAMPLES, rng)
    for number in rng.choice(len(digits), spec.clean_clips // 4):
        yield place(digits[number].samples, SPOKEN_SAMPLES, rng)
    phrases = spoken_clips(BankSpec(0, spec.clean_clips // 4, 1, 0.0, spec.seed))
    for clip in phrases:
        yield place(clip.samples, NOISY_SAMPLES, rng)


def _noisy_speech(spec: AnswerSpec, clean: list[Samples]) -> Iterator[TrainingClip]:
    """Yield each clean piece, then the piece with noise."""
    rng = np.random.default_rng([spec.seed, 5])
    for number, samples in enumerate(clean):
        yield TrainingClip(samples, "clean", str(number))
        for _ in range(spec.noisy_forms):
            yield TrainingClip(_noisy(samples, rng, spec), "noisy", str(number))


def _noisy(clean: Samples, rng: np.random.Generator, spec: AnswerSpec) -> Samples:
    """Add a sound of a class that no prompt shows, and half of the time a second one."""
    noise = np.zeros(len(clean), np.float32)
    for _ in range(int(rng.integers(1, 3))):
        kind = sound_class(spec.seed * 1_000_000 + 900_000 + int(rng.integers(50_000)))
        sound = kind.render(0, len(clean) / SAMPLE_RATE)[: len(clean)]
        noise += sound * np.float32(rng.uniform(0.2, 1) / (sound.std() + 1e-4))
    mixed = add_noise(clean, noise, float(rng.uniform(*spec.snr)))
    loudest = max(1.0, float(np.abs(mixed).max()))
    return (mixed / loudest).astype(np.float32)


def place(samples: Samples, length: int, rng: np.random.Generator) -> Samples:
    """Return (length,): the samples at a random position in silence, or a random part of longer ones."""
    slack = length - len(samples)
    offset = int(rng.integers(abs(slack) + 1))
    if slack < 0:
        return samples[offset : offset + length]
    return np.pad(samples, (offset, slack - offset))


def _changed(samples: Samples, rng: np.random.Generator) -> Samples:
    """Change the speed (and pitch) by up to a twelfth, and the level by up to 12 dB."""
    ratio = rng.uniform(11 / 12, 13 / 12)
    at = np.arange(0, len(samples) - 1, ratio)
    gain = min(10 ** (rng.uniform(-12, 12) / 20), 0.98 / (float(np.abs(samples).max()) + 1e-4))
    changed: Samples = (np.interp(at, np.arange(len(samples)), samples) * gain).astype(np.float32)
    return changed


def _rows(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "dev" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]
