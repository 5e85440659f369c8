"""Clips for the demonstration of generation: spoken digits, sounds, and noisy speech.

The digits are one voice of espeak-ng, recorded once; sounds and noise are made by rule for a seed.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

from core.training.data.families import SAMPLE_RATE, Samples
from core.training.data.named_sounds import NAMED_SOUNDS
from core.training.data.sounds import add_noise
from flows.cli.demo.clips import RECORDINGS, SOUNDS

DIGIT_RECORDINGS = Path(__file__).with_name("digits")
TAKES = 2
"""Of each digit and sound in the libraries."""
SOUND_SECONDS = 0.96
NOISES = ("rain", "engine")
PAIRS, NOISY = 6, 3
"""Recordings that demonstrate how noise is left out, and others that are to lose theirs."""
SNR_DB = 8.0


@dataclass(frozen=True)
class AudioClips:
    """Manifests of the libraries, the folder of noisy clips, and that of the same clips without noise."""

    digits: Path
    sounds: Path
    pairs: Path
    noisy: Path
    clean: Path


def write_audio_clips(folder: Path, seed: int) -> AudioClips:
    """Write all clips as 16 kHz FLAC under `folder`, the same bytes for the same seed."""
    rng = np.random.default_rng(seed)
    digits, sounds, pairs = (folder / f"{name}.jsonl" for name in ("digits", "sounds", "pairs"))
    written = AudioClips(digits, sounds, pairs, folder / "noisy", folder / "clean")
    _write_rows(written.digits, _digits(folder / "digits"))
    _write_rows(written.sounds, _sounds(folder / "sounds", rng))
    _write_rows(written.pairs, _pairs(folder / "pairs", rng))
    for number in range(PAIRS + 1, PAIRS + NOISY + 1):
        clean, noisy = _behind_noise(number, rng)
        _write(written.noisy / f"{number:02}.flac", noisy)
        _write(written.clean / f"{number:02}.flac", clean)
    return written


def _digits(folder: Path) -> Iterable[Mapping[str, str]]:
    """Yield every take of every digit. The texts are numerals."""
    for number in range(10 * TAKES):
        samples, _ = soundfile.read(DIGIT_RECORDINGS / f"{number + 1:02}.flac", dtype="float32")
        yield {"path": _write(folder / f"{number + 1:02}.flac", samples), "text": str(number % 10)}


def _sounds(folder: Path, rng: Generator) -> Iterable[Mapping[str, str]]:
    for name in SOUNDS:
        for take in range(TAKES):
            samples = NAMED_SOUNDS[name].render(int(rng.integers(2**31)), SOUND_SECONDS)
            yield {
                "path": _write(folder / f"{name.replace(' ', '-')}-{take + 1}.flac", samples),
                "text": name,
            }


def _pairs(folder: Path, rng: Generator) -> Iterable[Mapping[str, str]]:
    for number in range(1, PAIRS + 1):
        clean, noisy = _behind_noise(number, rng)
        yield {
            "path": _write(folder / f"{number:02}-noisy.flac", noisy),
            "target": _write(folder / f"{number:02}-clean.flac", clean),
        }


def _behind_noise(number: int, rng: Generator) -> tuple[Samples, Samples]:
    """Return a recording of the demonstration's speech, without and with noise."""
    clean, _ = soundfile.read(RECORDINGS / f"{number:02}.flac", dtype="float32")
    sound = NAMED_SOUNDS[NOISES[number % len(NOISES)]]
    noise = sound.render(int(rng.integers(2**31)), len(clean) / SAMPLE_RATE)
    mixed = add_noise(clean, noise, SNR_DB)
    return clean, mixed / np.float32(max(1.0, np.abs(mixed).max()))


def _write(path: Path, samples: Samples) -> str:
    """Write a clip, and return its path relative to the manifest next to its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return f"{path.parent.name}/{path.name}"


def _write_rows(manifest: Path, rows: Iterable[Mapping[str, str]]) -> None:
    lines = [json.dumps(row) + "\n" for row in rows]
    manifest.write_text("".join(lines), encoding="utf-8")
