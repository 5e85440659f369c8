"""Frames of power on Slaney's mel scale, without a logarithm, of samples that are raised to a level."""

from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from core.decoding.audio_stream import Samples

SILENT_POWER = 1e-12
LINEAR_HERTZ, HERTZ_A_MEL, MELS_A_FACTOR = 1_000.0, 200.0 / 3.0, 27.0 / np.log(6.4)
"""Slaney's scale is straight up to 1 kHz and logarithmic above, where 27 mels are a factor of 6.4."""


@dataclass(frozen=True)
class MelPower:
    """Centered frames of mel power; each frame is weighted by a periodic Hann window.

    Lengths are in samples. A window quieter than `level_db` (dBFS, root mean square) is raised to it, since
    without a logarithm the level counts.
    """

    frames: int
    frame_length: int
    hop_length: int
    mel_bins: int
    level_db: float

    def __post_init__(self) -> None:
        lengths = (self.frames, self.frame_length, self.hop_length, self.mel_bins)
        if not all(type(length) is int and length > 0 for length in lengths):
            raise ValueError("the lengths of its front end must be whole numbers of at least 1")
        if not -100 <= self.level_db <= 0:
            raise ValueError(f"level_db is {self.level_db}, it must be from -100 to 0")

    @property
    def window_samples(self) -> int:
        """The samples from one frame's center to the end of the last hop."""
        return self.frames * self.hop_length

    def shape(self, window: int, sample_rate: int) -> tuple[int, ...]:
        """Return (frames, mel_bins)."""
        return self.frames, self.mel_bins

    def features(self, samples: Samples, sample_rate: int) -> npt.NDArray[np.float32]:
        """Compute (frames, mel_bins) of (window,) samples."""
        padded = np.pad(self._raised(samples), self.frame_length // 2)
        framed = np.lib.stride_tricks.sliding_window_view(padded, self.frame_length)[:: self.hop_length]
        spectrum = np.fft.rfft(framed[: self.frames] * periodic_hann(self.frame_length))
        filters = slaney_filters(sample_rate, self.frame_length, self.mel_bins)
        mel: npt.NDArray[np.float32] = ((np.abs(spectrum) ** 2) @ filters).astype(np.float32)
        return mel

    def _raised(self, samples: Samples) -> npt.NDArray[np.float64]:
        power = float(np.mean(np.square(samples, dtype=np.float64)))
        wanted = 10 ** (self.level_db / 10)
        gain = np.sqrt(wanted / power) if SILENT_POWER < power < wanted else 1.0
        return samples.astype(np.float64) * gain

    def as_json(self) -> dict[str, Any]:
        """Return all its numbers."""
        return {"type": "mel_power", **asdict(self)}


@cache
def periodic_hann(length: int) -> npt.NDArray[np.float64]:
    """Return the window that weights the samples of a frame."""
    phase = 2 * np.pi * np.arange(length) / length
    hann: npt.NDArray[np.float64] = 0.5 - 0.5 * np.cos(phase)
    return hann


@cache
def slaney_filters(sample_rate: int, fft_length: int, bins: int) -> npt.NDArray[np.float64]:
    """Return the weights of frequencies in each band, (fft_length // 2 + 1, bins), each of area 1."""
    hertz = np.arange(fft_length // 2 + 1) * sample_rate / fft_length
    edges = _hertz(np.linspace(0.0, _mels(sample_rate / 2), bins + 2))
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    rising, falling = (hertz[:, None] - low) / (center - low), (high - hertz[:, None]) / (high - center)
    filters: npt.NDArray[np.float64] = np.maximum(np.minimum(rising, falling), 0.0) * 2.0 / (high - low)
    return filters


def _mels(hertz: float) -> float:
    """Return a place above 1 kHz on the scale."""
    return float(LINEAR_HERTZ / HERTZ_A_MEL + np.log(hertz / LINEAR_HERTZ) * MELS_A_FACTOR)


def _hertz(mels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    straight = LINEAR_HERTZ / HERTZ_A_MEL
    above = LINEAR_HERTZ * np.exp((mels - straight) / MELS_A_FACTOR)
    return np.where(mels < straight, mels * HERTZ_A_MEL, above)
