"""Training losses of a codec (paper, section 3.2 and appendix B.3).

Where the paper and the released configuration differ, there is an argument: `distance` (L1 in equations 3 and
4, mean square in the released code) and `gan` (hinge in equations 5 and 6, least squares in the code).
Commitment and codebook losses are computed with the codes, in core.training.codec.quantizer.
"""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.audio.spectrogram import mel_filters, power

Distance = Literal["l1", "mse"]
Gan = Literal["hinge", "lsgan"]
Resolution = tuple[int, int, int]
"""FFT size, hop, window, in samples."""

FULL_BAND: tuple[Resolution, ...] = ((512, 120, 480), (1024, 240, 960), (2048, 300, 1200))
SUB_BAND: tuple[Resolution, ...] = ((128, 20, 80), (256, 40, 120), (256, 50, 200))
SUB_BANDS = 6
PQMF_TAPS = 62
PQMF_CUTOFF = 0.1005
PQMF_BETA = 9.0
"""Shape of the prototype filter: with it the sum of the six bands differs from the signal by 0.3 %, the
minimum.
"""


def distance(name: Distance, x: Tensor, y: Tensor) -> Tensor:
    """Return the mean absolute or mean square difference."""
    return functional.l1_loss(x, y) if name == "l1" else functional.mse_loss(x, y)


def semantic_loss(z_q: Tensor, text: Tensor, measure: Distance) -> Tensor:
    """Return equation 3: the time mean of the semantic layer (B, D, T) against the text's vector (B, D)."""
    return distance(measure, z_q.mean(dim=-1), text)


def consistency_loss(z_q: Tensor, frames: Tensor, measure: Distance) -> Tensor:
    """Return equation 4: the second layer (B, D, T) against a teacher's frames (B, D, F), interpolated
    to T.
    """
    return distance(measure, z_q, functional.interpolate(frames, z_q.shape[-1]))


class STFTLoss(nn.Module):
    """Spectral convergence and log-magnitude L1 of (B, T) samples, averaged over resolutions."""

    def __init__(self, resolutions: Sequence[Resolution]) -> None:
        super().__init__()
        self.resolutions = resolutions
        for index, (_, _, window) in enumerate(resolutions):
            self.register_buffer(f"window{index}", torch.hann_window(window), persistent=False)

    def forward(self, decoded: Tensor, target: Tensor) -> Tensor:
        total = decoded.new_zeros(())
        for index in range(len(self.resolutions)):
            x, y = self._magnitude(index, decoded), self._magnitude(index, target)
            convergence = torch.linalg.vector_norm(y - x) / torch.linalg.vector_norm(y)
            total = total + convergence + functional.l1_loss(x.log(), y.log())
        return total / len(self.resolutions)

    def _magnitude(self, index: int, samples: Tensor) -> Tensor:
        size, hop, length = self.resolutions[index]
        window = getattr(self, f"window{index}")
        spectrum = torch.stft(samples, size, hop, length, window=window, return_complex=True)
        # the square root has no gradient at zero
        return power(spectrum).clamp(min=1e-7).sqrt()


class SubBands(nn.Module):
    """Cosine-modulated filter bank (pseudo-QMF; Nguyen, 1994): (B, T) samples to (B * 6, T / 6)."""

    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        offset = torch.arange(PQMF_TAPS + 1, dtype=torch.float64) - PQMF_TAPS / 2
        window = torch.kaiser_window(PQMF_TAPS + 1, periodic=False, beta=PQMF_BETA, dtype=torch.float64)
        prototype = PQMF_CUTOFF * torch.sinc(PQMF_CUTOFF * offset) * window
        band = torch.arange(SUB_BANDS, dtype=torch.float64).unsqueeze(1)
        phase = (2 * band + 1) * math.pi / (2 * SUB_BANDS) * offset + (-1.0) ** band * math.pi / 4
        self.register_buffer("filters", (2 * prototype * phase.cos()).float().unsqueeze(1), persistent=False)

    def forward(self, samples: Tensor) -> Tensor:
        bands = functional.conv1d(
            samples.unsqueeze(1), self.filters, stride=SUB_BANDS, padding=PQMF_TAPS // 2
        )
        return bands.flatten(0, 1)


class WaveformLosses(nn.Module):
    """Reconstruction losses of (B, 1, T) samples: `waveform` L1, `stft` over the full band, `sub_band` over
    six.
    """

    def __init__(self) -> None:
        super().__init__()
        self.full_band = STFTLoss(FULL_BAND)
        self.sub_band = STFTLoss(SUB_BAND)
        self.split = SubBands()

    def forward(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        x, y = decoded[:, 0], target[:, 0]
        return {
            "waveform": functional.l1_loss(x, y),
            "stft": self.full_band(x, y),
            "sub_band": self.sub_band(self.split(x), self.split(y)),
        }


class SpectrumLosses(nn.Module):
    """Reconstruction losses of a magnitude decoder (core.codec.mel): (B, bins, F) natural logs.

    `mel` L1 of log mel bands, `magnitude` L1 of logs, `loudness` L1 of magnitudes to the power 0.3 (which
    emphasizes loud bins), `envelope` one minus the correlation of band envelopes over 0.39 s, as measured by
    STOI.
    """

    filters: Tensor
    bands: Tensor
    ENVELOPE_FRAMES = 39

    def __init__(self, sample_rate: int, n_fft: int) -> None:
        super().__init__()
        self.register_buffer("filters", mel_filters(sample_rate, n_fft, 80), persistent=False)
        self.register_buffer("bands", third_octaves(sample_rate, n_fft), persistent=False)

    def forward(self, decoded: Tensor, target: Tensor) -> dict[str, Tensor]:
        x, y = decoded.exp(), target.exp()
        return {
            "mel": functional.l1_loss((self.filters @ x + 1e-3).log(), (self.filters @ y + 1e-3).log()),
            "magnitude": functional.l1_loss(decoded, target),
            "loudness": functional.l1_loss((0.3 * decoded).exp(), (0.3 * target).exp()),
            "envelope": 1 - self._correlation(x, y),
        }

    def _correlation(self, x: Tensor, y: Tensor) -> Tensor:
        """Return the mean over bands and pieces, equally weighted; the correlation of a silent piece is 0."""
        length = min(self.ENVELOPE_FRAMES, x.shape[-1])
        envelopes = [(self.bands @ s.square() + 1e-6).sqrt() for s in (x, y)]
        pieces = [envelope.unfold(-1, length, length // 3) for envelope in envelopes]
        centered = [p - p.mean(-1, keepdim=True) for p in pieces]
        return functional.cosine_similarity(centered[0], centered[1], dim=-1, eps=1e-4).mean()


def third_octaves(sample_rate: int, n_fft: int) -> Tensor:
    """Return (15, n_fft / 2 + 1): ones where a bin is in the third-octave band; the lowest is around 150
    Hz.
    """
    hertz = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1)
    centers = 150.0 * 2.0 ** (torch.arange(15.0) / 3)
    low, high = centers * 2 ** (-1 / 6), centers * 2 ** (1 / 6)
    return ((hertz >= low[:, None]) & (hertz < high[:, None])).float()


def adversarial_loss(scores: Sequence[Tensor], gan: Gan) -> Tensor:
    """Return equation 6: the generator's loss from the scores of K discriminators."""
    terms = [functional.relu(1 - s).mean() if gan == "hinge" else (1 - s).square().mean() for s in scores]
    return torch.stack(terms).mean()


def discriminator_loss(real: Sequence[Tensor], decoded: Sequence[Tensor], gan: Gan) -> Tensor:
    """Return equation 5: real near 1, decoded near -1 (hinge) or 0 (least squares)."""
    if gan == "hinge":
        terms = [
            functional.relu(1 - r).mean() + functional.relu(1 + d).mean()
            for r, d in zip(real, decoded, strict=True)
        ]
    else:
        terms = [(1 - r).square().mean() + d.square().mean() for r, d in zip(real, decoded, strict=True)]
    return torch.stack(terms).mean()


def feature_loss(real: Sequence[Sequence[Tensor]], decoded: Sequence[Sequence[Tensor]]) -> Tensor:
    """Return the mean absolute difference of the discriminators' inner layers."""
    terms = [
        functional.l1_loss(d, r.detach())
        for features, others in zip(real, decoded, strict=True)
        for r, d in zip(features, others, strict=True)
    ]
    return torch.stack(terms).mean()
