"""The mono mix of a clip, and rejection of levels that no recording has.

Mono is the mean of the channels (preprocessing version 1). The measured levels only decide whether a clip is
used; they never change a sample.
"""

import math
from functools import reduce

import numpy as np

from core.decoding.audio_stream import Samples
from core.errors import AudioRejected

_CANCELLATION_DB = 20.0
"""Largest loss of level from channels to mix: 3 dB for two unlike channels, 9 dB for one of eight."""


class Mixdown:
    """The mono mix of one clip, block by block, and its level so far."""

    def __init__(self, channels: int, max_peak_dbfs: float) -> None:
        self._channels = channels
        self._max_peak = 10 ** (max_peak_dbfs / 20)
        self._highest, self._lowest = -math.inf, math.inf
        self._num_samples = 0
        self._mix_energy = self._channel_energy = 0.0

    def mix(self, block: Samples) -> Samples:
        """Return the mean over the channels of a block (frames, channels).

        Raises AudioRejected for a sample that no recording has: `not_finite` or `too_loud`.
        """
        self._check_peak(block)
        mono = self._mix_channels(np.ascontiguousarray(block.T)) if self._channels > 1 else block[:, 0]
        self._highest = max(self._highest, float(mono.max()))
        self._lowest = min(self._lowest, float(mono.min()))
        self._num_samples += len(mono)
        return mono

    @property
    def peak(self) -> float:
        """Largest absolute sample of the mix so far, linear."""
        return max(0.0, self._highest, -self._lowest)

    def check(self, min_peak_dbfs: float, allow_silent: bool) -> None:
        """Raise AudioRejected for a whole clip that is silent, or whose channels cancel in the mix.

        Both are measured without a constant offset, which is not sound.
        """
        silence = 10 ** (min_peak_dbfs / 20)
        if self._cancels(silence):
            raise AudioRejected("cancelling", self._describe_cancellation())
        swing = (self._highest - self._lowest) / 2
        if swing < silence and not allow_silent:
            message = f"peak without offset {swing:.2e} is under {min_peak_dbfs} dBFS"
            raise AudioRejected("silent", message)

    def _mix_channels(self, channels: Samples) -> Samples:
        """Add the channels one by one; numpy's mean over so short an axis is 20 times slower."""
        mono: Samples = reduce(np.add, channels) / np.float32(self._channels)
        centered, mix = channels - channels.mean(axis=1, keepdims=True), mono - mono.mean()
        self._channel_energy += float(np.vecdot(centered, centered).mean())
        self._mix_energy += float(np.dot(mix, mix))
        return mono

    def _check_peak(self, block: Samples) -> None:
        peak = float(max(block.max(), -block.min()))
        if not math.isfinite(peak):
            raise AudioRejected("not_finite", "a sample is NaN or infinite")
        if peak > self._max_peak:
            message = f"a sample of {peak:.3g}, the limit is {self._max_peak:.3g}: scale full scale to 1.0"
            raise AudioRejected("too_loud", message)

    def _cancels(self, silence: float) -> bool:
        is_audible = self._channel_energy > silence**2 * self._num_samples
        return is_audible and self._mix_energy < self._channel_energy * 10 ** (-_CANCELLATION_DB / 10)

    def _describe_cancellation(self) -> str:
        if self._mix_energy:
            lost = 10 * math.log10(self._channel_energy / self._mix_energy)
            fall = f"{lost:.0f} dB below the channels, the limit is {_CANCELLATION_DB:.0f} dB"
        else:
            fall = "without sound"
        return f"the channels cancel: their mean is {fall}; send one channel, or turn the phase of one"
