"""What is made of a window's samples before an embedding network takes them; all numbers are the model's own.

A window is always computed by itself, so that its numbers do not depend on how the audio arrived.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from core.decoding.audio_stream import Samples
from core.embeddings.mel_power import MelPower, periodic_hann

Features = npt.NDArray[np.float32]

LARGEST_FFT = 65_536


class FrontEnd(Protocol):
    """From the samples of a window to what the network takes."""

    @property
    def window_samples(self) -> int | None:
        """The samples that it takes, None where it takes any number."""

    def shape(self, window: int, sample_rate: int) -> tuple[int, ...]:
        """Return the shape of the features of a window; raises ValueError for a rate that does not fit."""

    def features(self, samples: Samples, sample_rate: int) -> Features:
        """Return the features of one window."""

    def as_json(self) -> dict[str, Any]:
        """Return all its numbers."""


@dataclass(frozen=True)
class Waveform:
    """The samples themselves."""

    @property
    def window_samples(self) -> None:
        """Any number of samples."""
        return

    def shape(self, window: int, sample_rate: int) -> tuple[int, ...]:
        """Return (window,)."""
        return (window,)

    def features(self, samples: Samples, sample_rate: int) -> Features:
        """Return them as they are."""
        return samples

    def as_json(self) -> dict[str, Any]:
        """Return no numbers: it has none."""
        return {"type": "waveform"}


@dataclass(frozen=True)
class LogMel:
    """Frames of magnitudes on the mel scale (HTK's, triangles straight in mel), log(x + log_offset).

    Lengths are in samples. Each frame is weighted by a periodic Hann window and filled up to `fft_length`.
    """

    frames: int
    frame_length: int
    hop_length: int
    fft_length: int
    mel_bins: int
    min_hz: float
    max_hz: float
    log_offset: float

    def __post_init__(self) -> None:
        lengths = (self.frames, self.frame_length, self.hop_length, self.fft_length, self.mel_bins)
        if not all(type(length) is int and length > 0 for length in lengths):
            raise ValueError("the lengths of its front end must be whole numbers of at least 1")
        if not self.frame_length <= self.fft_length <= LARGEST_FFT:
            raise ValueError(
                f"fft_length is {self.fft_length}, it must be from frame_length ({self.frame_length}) to "
                f"{LARGEST_FFT}"
            )
        if not (0 <= self.min_hz < self.max_hz and self.log_offset > 0):
            raise ValueError("its front end needs 0 <= min_hz < max_hz and a log_offset above 0")

    @property
    def window_samples(self) -> int:
        """The samples under all frames."""
        return (self.frames - 1) * self.hop_length + self.frame_length

    def shape(self, window: int, sample_rate: int) -> tuple[int, ...]:
        """Return (frames, mel_bins)."""
        if self.max_hz > sample_rate / 2:
            raise ValueError(f"max_hz is {self.max_hz}, at most half the sample rate {sample_rate} is there")
        return self.frames, self.mel_bins

    def features(self, samples: Samples, sample_rate: int) -> Features:
        """Compute (frames, mel_bins) of (window,) samples."""
        framed = np.lib.stride_tricks.sliding_window_view(samples, self.frame_length)[:: self.hop_length]
        spectrum = np.abs(np.fft.rfft(framed * self._hann, self.fft_length))
        mel: Features = np.log(spectrum @ self._filters(sample_rate) + np.float32(self.log_offset))
        return mel

    def as_json(self) -> dict[str, Any]:
        """Return all its numbers."""
        return {"type": "log_mel", **asdict(self)}

    @cached_property
    def _hann(self) -> Features:
        return periodic_hann(self.frame_length).astype(np.float32)

    @cached_property
    def _filters_by_rate(self) -> dict[int, Features]:
        return {}

    def _filters(self, sample_rate: int) -> Features:
        kept = self._filters_by_rate
        if sample_rate not in kept:
            kept[sample_rate] = mel_filters(self, sample_rate)
        return kept[sample_rate]


def mel_filters(front_end: LogMel, sample_rate: int) -> Features:
    """Return the weights of frequencies in each band, (fft_length // 2 + 1, mel_bins); the offset has
    none.
    """
    hertz = np.arange(front_end.fft_length // 2 + 1) * sample_rate / front_end.fft_length
    first, last = _mel(np.array([front_end.min_hz, front_end.max_hz])).tolist()
    edges = np.linspace(first, last, front_end.mel_bins + 2)
    low, center, high = edges[:-2], edges[1:-1], edges[2:]
    mel = _mel(hertz)[:, None]
    triangles = np.minimum((mel - low) / (center - low), (high - mel) / (high - center))
    filters: Features = np.maximum(triangles, 0.0).astype(np.float32)
    filters[0] = 0.0
    return filters


def _mel(hertz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    mel: npt.NDArray[np.float64] = 1127.0 * np.log1p(hertz / 700.0)
    return mel


FRONT_ENDS: dict[str, type[LogMel] | type[MelPower] | type[Waveform]] = {
    "log_mel": LogMel,
    "mel_power": MelPower,
    "waveform": Waveform,
}


def read_front_end(numbers: Mapping[str, Any]) -> FrontEnd:
    """Return the front end that a description names; raises ValueError."""
    if (name := numbers["type"]) not in FRONT_ENDS:
        raise ValueError(f"its front end is {name!r}: there are {', '.join(FRONT_ENDS)}")
    front_end = FRONT_ENDS[name]
    known, given = {field.name for field in fields(front_end)}, set(numbers) - {"type"}
    if known != given:
        raise ValueError(f"its front end {name} has the numbers {sorted(given)}, needed are {sorted(known)}")
    return front_end(**{key: numbers[key] for key in given})
