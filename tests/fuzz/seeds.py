"""Whole files of every accepted container and coding, made at run time, which mutations start from."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import soundfile

from core.in_context.baselines import FloatArray

RATE = 16_000
SECONDS = 0.5
MPEG_FRAME = 576
"""Samples, at rates under 32 kHz."""
MP3_LEVEL = 0.5
PCM = ("PCM_16", "PCM_24", "PCM_32", "FLOAT")
CODINGS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("WAV", "FILE", (*PCM, "PCM_U8", "DOUBLE", "ALAW", "ULAW")),
    ("WAV", "BIG", ("PCM_16", "FLOAT")),
    ("WAVEX", "FILE", ("PCM_16", "PCM_24", "FLOAT")),
    ("RF64", "FILE", ("PCM_16", "FLOAT")),
    ("W64", "FILE", ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
    ("AIFF", "FILE", ("PCM_16", "PCM_24", "FLOAT", "ULAW", "ALAW")),
    ("AU", "FILE", ("PCM_16", "PCM_24", "FLOAT", "ULAW")),
    ("CAF", "FILE", ("PCM_16", "PCM_24", "FLOAT", "ALAW")),
    ("NIST", "FILE", ("PCM_16", "PCM_24", "ULAW")),
    ("FLAC", "FILE", ("PCM_16", "PCM_24")),
    ("OGG", "FILE", ("VORBIS", "OPUS")),
)
BITRATES = ("CONSTANT", "VARIABLE")


@dataclass(frozen=True)
class Seed:
    """A whole file: its bytes, the frames that it decodes to, and what its container promises.

    `promises` is whether a file that was cut short can be told from a whole one. `slack` is how many frames a
    lossy decoder may give more or less for each file that is joined.
    """

    name: str
    data: bytes
    frames: int
    promises: bool = True
    slack: int = 0


def signal(channels: int) -> FloatArray:
    """Return a tone in noise, (frames, channels); the channels differ."""
    rng = np.random.default_rng(channels)
    time = np.arange(int(SECONDS * RATE)) / RATE
    tones = [0.3 * np.sin(2 * np.pi * 440 * (channel + 1) * time) for channel in range(channels)]
    return np.stack(tones, axis=1) + 0.05 * rng.standard_normal((len(time), channels))


def written(container: str, subtype: str, channels: int, **options: Any) -> bytes:
    """Return the bytes of a file of this coding."""
    file = io.BytesIO()
    soundfile.write(file, signal(channels), RATE, format=container, subtype=subtype, **options)
    return file.getvalue()


@cache
def seeds() -> tuple[Seed, ...]:
    """Return one file of each container, coding and number of channels (1 and 2)."""
    return (*_plain(), *_mpeg())


def _plain() -> Iterator[Seed]:
    for container, endian, subtypes in CODINGS:
        for subtype in subtypes:
            for channels in (1, 2):
                data = written(container, subtype, channels, endian=endian)
                yield Seed(f"{container} {endian} {subtype} {channels}", data, int(SECONDS * RATE))


def _mpeg() -> Iterator[Seed]:
    """MP3 with the frame of Xing or Info, which promises a count, and without it."""
    for bitrate in BITRATES:
        for channels in (1, 2):
            data = written(
                "MP3", "MPEG_LAYER_III", channels, bitrate_mode=bitrate, compression_level=MP3_LEVEL
            )
            frames, slack = int(SECONDS * RATE), 4 * MPEG_FRAME
            yield Seed(f"MP3 {bitrate} {channels}", data, frames, slack=slack)
            bare = without_count(data)
            yield Seed(f"MP3 {bitrate} bare {channels}", bare, frames, promises=False, slack=slack)


def without_count(data: bytes) -> bytes:
    """Return an MP3 without its first frame, which holds the count."""
    second = data.find(data[:2], 4)
    while data[second + 2] & 0x0C != data[2] & 0x0C:  # a sync word inside of a frame
        second = data.find(data[:2], second + 1)
    return data[second:]
