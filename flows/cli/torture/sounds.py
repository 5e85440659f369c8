"""Clips that are made by number: the same number always has the same bytes."""

import wave
from io import BytesIO

import numpy as np

RATE, SECONDS = 16_000, 0.3
PITCHES = {"low": 200.0, "high": 3_000.0}
BROKEN_BYTES = 400
"""Of a file that broke off."""


def clip(number: int) -> bytes:
    """Return a WAV of a low or a high tone in noise."""
    rng = np.random.default_rng(number)
    pitch = list(PITCHES.values())[number % len(PITCHES)] * rng.uniform(0.9, 1.1)
    time = np.arange(int(SECONDS * RATE)) / RATE
    samples = 0.3 * np.sin(2 * np.pi * pitch * time) + 0.01 * rng.standard_normal(len(time))
    return wav(samples)


def broken_clip(number: int) -> bytes:
    """Return a clip whose end is missing."""
    return clip(number)[:-BROKEN_BYTES]


def wav(samples: np.ndarray) -> bytes:
    """Return 16-bit mono WAV."""
    file = BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((samples * 32767).astype("<i2").tobytes())
    return file.getvalue()
