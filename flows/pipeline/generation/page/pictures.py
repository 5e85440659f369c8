"""Mel-spectrograms of short clips as small PNG files, all on one scale so that they can be compared."""

import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import soundfile
import torch
from numpy.typing import NDArray

from core.audio.picture import MIN_TOP_DB, PICTURE_RATE, draw_levels, mel_levels
from core.audio.resampling import wav_bytes
from core.audio.spectrogram import mel

MAX_EXCERPT_SECONDS = 15.0
"""The part of a clip that is shown and played; a page would grow by megabytes otherwise."""
HERTZ = (500, 1000, 2000, 4000, 8000)
WIDTH, NARROWEST, WIDEST = 184.0, 140.0, 250.0
"""Pixels of a page's longest picture, and limits for a second."""
MIN_TICK_PIXELS = 27.0
"""The least distance between two marks of the time axis."""


@dataclass(frozen=True, eq=False)
class Excerpt:
    """The first `seconds` of the `whole` seconds of a clip: a wav file, and log-mel levels in dB."""

    wav: bytes
    seconds: float
    whole: float
    levels: NDArray[np.float32]  # (BANDS, frames), from low to high frequencies


def read_excerpt(wav: bytes) -> Excerpt:
    """Return the first 15 seconds of a clip, mixed to one channel. A shorter clip keeps its bytes.

    Raises ValueError for bytes that are not audio or have no samples.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(wav)) as file:
            rate, frames = int(file.samplerate), int(file.frames)
            count = round(MAX_EXCERPT_SECONDS * rate)
            samples = file.read(count, dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise ValueError(f"these {len(wav)} bytes are not a wav file: {error.error_string}") from error
    if not len(samples):
        raise ValueError("the clip has no samples: there is nothing to draw or to play")
    excerpt = wav if len(samples) == frames else wav_bytes(torch.from_numpy(samples), rate)
    return Excerpt(excerpt, len(samples) / rate, frames / rate, mel_levels(samples, rate))


@dataclass(frozen=True)
class Scale:
    """The scale of a page's pictures: the level in dB of the brightest color, and pixels per second."""

    loudest: float
    pixels_a_second: float

    @classmethod
    def of(cls, clips: Iterable[Excerpt]) -> "Scale":
        """Return the scale up to the loudest moment of all clips, on which the longest is about WIDTH."""
        clips = list(clips)
        loudest = max((float(clip.levels.max()) for clip in clips), default=MIN_TOP_DB)
        longest = max((clip.seconds for clip in clips), default=1.0)
        pixels_a_second = min(max(WIDTH / longest, NARROWEST), WIDEST)
        return cls(max(loudest, MIN_TOP_DB), pixels_a_second)

    def png(self, clip: Excerpt) -> bytes:
        """Draw a pixel per band and frame, with high frequencies at the top."""
        return draw_levels(clip.levels, self.loudest)

    def width(self, seconds: float) -> int:
        """Return the width on the page in pixels."""
        return max(1, round(seconds * self.pixels_a_second))

    def time_ticks(self, seconds: float) -> tuple[tuple[str, int], ...]:
        """Return marks of the time axis: seconds as text, and pixels from the left."""
        steps = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
        step = next((step for step in steps if step * self.pixels_a_second >= MIN_TICK_PIXELS), steps[-1])
        marks = (step * number for number in range(math.floor(seconds / step + 1e-6) + 1))
        return tuple((f"{mark:.1f}".removesuffix(".0"), self.width(mark) if mark else 0) for mark in marks)


def frequency_ticks() -> tuple[tuple[str, float], ...]:
    """Return marks of the frequency axis: kHz as text, and their height, 0 to 1."""
    top = mel(PICTURE_RATE / 2)
    return tuple((f"{hertz / 1000:g}", mel(hertz) / top) for hertz in HERTZ)
