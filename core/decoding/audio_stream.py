"""A clip while it is decoded: its bounds, the stream of its blocks, and its facts."""

from collections.abc import Generator, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]

BLOCK_SAMPLES = 65_536
"""Decoded samples of one block, over all channels: 256 KiB."""

EXTRA_CODINGS = (
    "ima_adpcm",
    "ms_adpcm",
    "nms_adpcm",
    "gsm",
    "g721",
    "g723",
    "dwvw",
    "alac",
    "mpeg",  # MP3 within WAV
)
"""Codings of libsndfile that are decoded only when an operator allows them."""


@dataclass(frozen=True)
class AudioLimits:
    """Bounds of a clip; the reason code of each is in brackets.

    Attributes:
        max_bytes: encoded size (too_large).
        min_duration, max_duration: seconds by counted frames (too_short, too_long).
        min_sample_rate, max_sample_rate: Hz (bad_rate).
        max_kernel_bytes: resampling kernel of the reduced rate ratio, see core.audio.resampling (bad_rate).
        max_channels: (bad_channels).
        max_expansion, min_bomb_bytes: decoded over encoded bytes, once the former pass a floor (bomb). A
            FLAC of little but silence passes both; an operator who has such clips raises the floor.
        min_peak_dbfs: dB of full scale, peak of the mono mix without offset (silent), unless allow_silent.
        max_peak_dbfs: dB of full scale, peak of any channel (too_loud).
        extra_codings: those of EXTRA_CODINGS that are decoded too (unsupported).
        decode_timeout, stall_timeout: seconds that one clip, and one block of it, may take (timeout).
    """

    max_bytes: int = 2 * 1024**3
    min_duration: float = 0.02
    max_duration: float = 6 * 3600.0
    min_sample_rate: int = 4_000
    max_sample_rate: int = 192_000
    max_kernel_bytes: int = 64 * 1024**2
    max_channels: int = 8
    max_expansion: float = 1000.0
    min_bomb_bytes: int = 64 * 1024**2
    min_peak_dbfs: float = -80.0
    max_peak_dbfs: float = 30.0
    allow_silent: bool = False
    extra_codings: tuple[str, ...] = ()
    decode_timeout: float = 600.0
    stall_timeout: float = 20.0


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True)
class AudioInfo:
    """Facts of a decoded clip. Frames are counted, not claimed; peak is linear, of the mono mix."""

    format: str
    sample_rate: int
    channels: int
    num_samples: int
    peak: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


class AudioStream:
    """A clip being decoded: iterate once for its 1-D float32 mono blocks at `sample_rate`, then read `info`.

    Mono is the mean of the channels. Iterating raises AudioRejected when the clip exceeds a bound.
    """

    def __init__(self, sample_rate: int, blocks: Generator[Samples, None, AudioInfo]) -> None:
        self.sample_rate = sample_rate
        self._blocks = blocks
        self._info: AudioInfo | None = None

    def __iter__(self) -> Iterator[Samples]:
        if self._info is None:
            self._info = yield from self._blocks

    @property
    def info(self) -> AudioInfo:
        """Facts of the clip, known after the last block."""
        if self._info is None:
            raise ValueError("a clip's info is known when all its blocks are read: iterate over it first")
        return self._info
