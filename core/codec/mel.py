"""Blocks of the mini codec, small enough to train on a CPU: log-mel frames in, an inverse STFT out.

Convolutions run at frame rate instead of over samples; everything between encoder and decoder, the quantizer
and the directory format, is that of the released shape.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.codec.config import CodecConfig

N_FFT = 1024
MEL_BANDS = 80
MEL_FRAMES = 2
"""Log-mel frames that stand side by side in one frame of the codec."""
UPSAMPLE = 3
FLOOR = 1e-5


class ConvBlock(nn.Module):
    """Kernel-3 convolution and a pointwise one behind a norm over channels, with a skip."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=1)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(x.transpose(1, 2)).transpose(1, 2)
        out: Tensor = self.out(nn.functional.gelu(self.conv(h)))
        return x + out


class LogMel(nn.Module):
    """(B, 1, T) samples to (B, bands, T / hop) log-mel frames, around 0 and of spread about 1."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.register_buffer("filters", mel_filters(sample_rate))

    def forward(self, waveform: Tensor) -> Tensor:
        padded = nn.functional.pad(waveform[:, 0], (N_FFT // 2, N_FFT // 2))
        spectrum = torch.stft(
            padded, N_FFT, self.hop_length, window=self.window, center=False, return_complex=True
        ).abs()
        frames = spectrum[..., : waveform.shape[-1] // self.hop_length]
        return (torch.clamp(self.filters @ frames, min=FLOOR).log() + 4.0) / 3.0


def mel_filters(sample_rate: int) -> Tensor:
    """Triangular filters (bands, N_FFT / 2 + 1), equally spaced on the mel scale, of unit sum each."""
    top = 2595.0 * math.log10(1.0 + sample_rate / 2 / 700.0)
    edges = 700.0 * (10.0 ** (torch.linspace(0.0, top, MEL_BANDS + 2, dtype=torch.float64) / 2595.0) - 1.0)
    hertz = torch.linspace(0.0, sample_rate / 2, N_FFT // 2 + 1, dtype=torch.float64)
    rising = (hertz - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    falling = (edges[2:, None] - hertz) / (edges[2:] - edges[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp(min=0.0)
    return (filters / filters.sum(1, keepdim=True)).float()


class MelEncoder(nn.Module):
    """(B, 1, T) samples to (B, D, T / hop_length) latents; a frame sees fewer than 16 frames on each side."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.mel = LogMel(config.sample_rate, config.hop_length // MEL_FRAMES)
        self.input = nn.Conv1d(MEL_BANDS * MEL_FRAMES, config.encoder_dim, 1)
        self.blocks = nn.Sequential(*(ConvBlock(config.encoder_dim) for _ in range(4)))
        self.output = nn.Conv1d(config.encoder_dim, config.latent_dim, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(waveform)
        stacked = mel.unflatten(2, (-1, MEL_FRAMES)).permute(0, 3, 1, 2).flatten(1, 2)  # (B, 2 * bands, T)
        latent: Tensor = self.output(self.blocks(self.input(stacked)))
        return latent


class MelDecoder(nn.Module):
    """(B, D, T) latents to (B, 1, T * hop_length) samples; it draws no noise."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.hop_length = config.hop_length // UPSAMPLE
        self.n_fft = 4 * self.hop_length
        self.input = nn.Conv1d(config.latent_dim, dim, 3, padding=1)
        self.coarse = nn.Sequential(*(ConvBlock(dim) for _ in range(3)))
        self.upsample = nn.ConvTranspose1d(dim, dim, UPSAMPLE, stride=UPSAMPLE)
        self.fine = nn.Sequential(*(ConvBlock(dim) for _ in range(3)))
        self.head = nn.Conv1d(dim, self.n_fft + 2, 1)
        self.register_buffer("window", torch.hann_window(self.n_fft))

    def forward(self, z_q: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        h = self.fine(self.upsample(self.coarse(self.input(z_q))))
        log_magnitude, phase = self.head(h).chunk(2, dim=1)
        spectrum = torch.polar(log_magnitude.clamp(max=5.0).exp(), phase)
        samples = self.hop_length * h.shape[-1]
        # one frame more than hops, so that the overlap-add covers the last samples too
        spectrum = torch.cat((spectrum, spectrum[..., -1:]), dim=-1)
        waveform: Tensor = torch.istft(
            spectrum, self.n_fft, self.hop_length, window=self.window, length=samples
        )
        return waveform.unsqueeze(1)
