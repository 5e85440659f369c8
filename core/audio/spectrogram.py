"""Squared STFT magnitudes, and triangular filters on the mel scale."""

import math

import torch
from torch import Tensor, nn


def power(spectrum: Tensor) -> Tensor:
    """Return squared magnitudes: `abs` has a square root, and parts of complex numbers are read singly."""
    squares = torch.view_as_real(spectrum).square()
    return squares[..., 0] + squares[..., 1]


def power_frames(samples: Tensor, n_fft: int, hop: int, window: Tensor) -> Tensor:
    """Return squared STFT magnitudes (..., n_fft / 2 + 1, frames) of (..., T) samples, padded with zeros."""
    padded = nn.functional.pad(samples, (n_fft // 2, n_fft // 2))
    spectrum = torch.stft(padded, n_fft, hop, len(window), window, center=False, return_complex=True)
    return power(spectrum)


def mel_filters(sample_rate: int, n_fft: int, bands: int) -> Tensor:
    """Return triangular filters (bands, n_fft / 2 + 1), equally spaced on the mel scale, each with sum 1."""
    places = torch.linspace(0.0, mel(sample_rate / 2), bands + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (places / 2595.0) - 1.0)
    hertz = torch.linspace(0.0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    # a band narrower than a bin takes the nearest bin
    nearest = (hertz - edges[1:-1, None]).abs().argmin(1, keepdim=True)
    filters = torch.where(filters.sum(1, keepdim=True) > 0, filters, 0.0)
    filters = filters.scatter_add(1, nearest, (filters.sum(1, keepdim=True) == 0).double())
    return (filters / filters.sum(1, keepdim=True)).float()


def mel(hertz: float) -> float:
    """Return the place of a frequency on the mel scale."""
    return 2595.0 * math.log10(1.0 + hertz / 700.0)
