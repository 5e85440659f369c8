"""A small denoiser without a network: bins that are hardly louder than a threshold fall away."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from core.decoding.audio_stream import Samples

FRAME = 512


class SpectralGate:
    """Attenuates what is near a threshold and removes what is under it, in frames at 16 kHz."""

    name = "spectral-gate"
    sample_rate = 16_000
    license = "Apache-2.0"

    def __init__(self, threshold: float = 3.0) -> None:
        self._threshold = threshold
        self.fingerprint = hashlib.sha256(f"{self.name} {threshold}".encode()).hexdigest()

    def denoise(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Yield as many samples as come."""
        hop, window = FRAME // 2, np.sin(np.pi * (np.arange(FRAME) + 0.5) / FRAME).astype(np.float32)
        samples = np.concatenate([np.zeros(0, np.float32), *blocks])
        padded = np.pad(samples, (hop, FRAME + -len(samples) % hop))
        denoised = np.zeros_like(padded)
        for start in range(0, len(padded) - FRAME + 1, hop):
            frame = np.fft.rfft(padded[start : start + FRAME] * window)
            denoised[start : start + FRAME] += np.fft.irfft(self._gated(frame)).astype(np.float32) * window
        yield denoised[hop : hop + len(samples)]

    def _gated(self, frame: npt.NDArray[np.complex128]) -> npt.NDArray[np.complex128]:
        ratio = self._threshold / np.maximum(np.abs(frame), 1e-9)
        return frame * np.maximum(0.0, 1.0 - ratio**2)
