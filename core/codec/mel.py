"""Blocks of the mini codec, small enough to train on a CPU: log-mel frames in, STFT magnitudes out.

Convolutions run at frame rate instead of over samples. The decoder learns magnitudes only; Griffin-Lim finds
the phase, which needs no training. The quantizer and the directory format are those of the released shape.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.audio.spectrogram import mel_filters, power, power_frames
from core.codec.config import MEL_BANDS, N_FFT, CodecConfig
from core.matmul import product

MEL_FRAMES = 2
"""Log-mel frames that are concatenated into one frame of the codec."""
DILATIONS = (1, 2, 3, 4, 4)
"""Dilations of the encoder's blocks: with the log-mel window, a frame sees 15.1 frames on each side."""
UPSAMPLE_FACTOR = 3
MEL_FLOOR = 1e-5
PHASE_STEPS = 24
PHASE_MOMENTUM = 0.99
"""Momentum of the fast Griffin-Lim algorithm (Perraudin, Balazs and Søndergaard, 2013)."""


class ConvBlock(nn.Module):
    """Kernel-3 and pointwise convolution of (B, T, C) after a norm over channels, with a skip."""

    def __init__(self, dim: int, dilation: int = 1) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.conv = nn.Conv1d(dim, dim, 3, padding=dilation, dilation=dilation)
        self.out = nn.Conv1d(dim, dim, 1)

    def forward(self, x: Tensor) -> Tensor:
        # as products: a dilated convolution of torch takes ten times as long on a CPU
        return x + pointwise(self.out, nn.functional.gelu(self._three_taps(self.norm(x))))

    def _three_taps(self, h: Tensor) -> Tensor:
        """Compute the dilated convolution as one product."""
        reach, steps = self.conv.dilation[0], h.shape[1]
        padded = nn.functional.pad(h, (0, 0, reach, reach))
        taps = [padded[:, start : start + steps] for start in (0, reach, 2 * reach)]
        return product(torch.cat(taps, dim=-1), self.conv.weight.transpose(1, 2).flatten(1), self.conv.bias)


def pointwise(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """Apply a convolution of kernel 1 to (B, T, C)."""
    return product(x, conv.weight[:, :, 0], conv.bias)


class LogMelFrames(nn.Module):
    """Log-mel frames (B, bands, T / hop) of (B, 1, T) samples, with mean near 0 and deviation near 1."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, hop_length: int) -> None:
        super().__init__()
        self.hop_length = hop_length
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.register_buffer("filters", mel_filters(sample_rate, N_FFT, MEL_BANDS))

    def forward(self, waveform: Tensor) -> Tensor:
        frames = power_frames(waveform[:, 0], N_FFT, self.hop_length, self.window)
        frames = frames[..., : waveform.shape[-1] // self.hop_length].sqrt()
        bands = product(frames.transpose(1, 2), self.filters).transpose(1, 2)
        return (torch.clamp(bands, min=MEL_FLOOR).log() + 4.0) / 3.0


class MelEncoder(nn.Module):
    """Encoder of (B, 1, T) samples to (B, D, T / hop_length) latents.

    A frame sees fewer than 16 frames on each side.
    """

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.encoder_dim
        self.mel = LogMelFrames(config.sample_rate, config.hop_length // MEL_FRAMES)
        self.input = nn.Conv1d(MEL_BANDS * MEL_FRAMES, dim, 1)
        self.blocks = nn.Sequential(*(ConvBlock(dim, dilation) for dilation in DILATIONS))
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Conv1d(dim, config.latent_dim, 1)

    def forward(self, waveform: Tensor) -> Tensor:
        mel = self.mel(waveform).transpose(1, 2)
        stacked = mel.unflatten(1, (-1, MEL_FRAMES)).flatten(2)  # (B, T, 2 * bands)
        h = self.blocks(pointwise(self.input, stacked))
        # without the norm the latent collapses at the start of training
        return pointwise(self.output, self.norm(h)).transpose(1, 2)


class MelDecoder(nn.Module):
    """Decoder of (B, D, T) latents to (B, 1, T * hop_length) samples; the noise is the initial phase."""

    window: Tensor

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        self.hop_length = config.hop_length // UPSAMPLE_FACTOR
        self.n_fft = 4 * self.hop_length
        self.input = nn.Conv1d(config.latent_dim, dim, 3, padding=1)
        self.coarse = nn.Sequential(*(ConvBlock(dim) for _ in range(3)))
        self.upsample = nn.ConvTranspose1d(dim, dim, UPSAMPLE_FACTOR, stride=UPSAMPLE_FACTOR)
        self.fine = nn.Sequential(*(ConvBlock(dim) for _ in range(3)))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Conv1d(dim, self.n_fft // 2 + 1, 1)
        self.register_buffer("window", torch.hann_window(self.n_fft))

    def forward(self, z_q: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        magnitude = self.log_magnitude(z_q).exp()
        # one frame more than hops, so that the overlap-add covers the last samples too
        magnitude = torch.cat((magnitude, magnitude[..., -1:]), dim=-1)
        noise = torch.stack([torch.rand(magnitude.shape[1:], generator=g) for g in generators]).to(magnitude)
        phase = self._find_phase(magnitude.detach(), torch.polar(torch.ones_like(noise), 2 * math.pi * noise))
        return self._overlap_add(magnitude * phase).unsqueeze(1)

    def log_magnitude(self, z_q: Tensor) -> Tensor:
        """Return natural log magnitudes (B, n_fft / 2 + 1, 3 T) of latents (B, D, T), one frame per hop."""
        h = self.coarse(self.input(z_q).transpose(1, 2).contiguous())
        h = self.fine(self.upsample(h.transpose(1, 2)).transpose(1, 2).contiguous())
        return pointwise(self.head, self.norm(h)).transpose(1, 2).clamp(max=7.0)

    def log_spectrum(self, waveform: Tensor) -> Tensor:
        """Return the target of `log_magnitude` for (B, 1, T) samples, floored at -7."""
        spectrum = torch.stft(
            waveform[:, 0], self.n_fft, self.hop_length, window=self.window, return_complex=True
        )
        return power(spectrum)[..., :-1].clamp(min=math.exp(-14.0)).log() / 2

    @torch.no_grad()
    def _find_phase(self, magnitude: Tensor, phase: Tensor) -> Tensor:
        """Run fast Griffin-Lim; return the unit complex numbers that best fit the magnitudes."""
        previous = torch.zeros_like(phase)
        for _ in range(PHASE_STEPS):
            samples = self._overlap_add(magnitude * phase)
            spectrum = torch.stft(
                samples, self.n_fft, self.hop_length, window=self.window, return_complex=True
            )
            ahead = spectrum - PHASE_MOMENTUM / (1 + PHASE_MOMENTUM) * previous
            phase, previous = ahead / ahead.abs().clamp(min=1e-9), spectrum
        return phase

    def _overlap_add(self, spectrum: Tensor) -> Tensor:
        samples = self.hop_length * (spectrum.shape[-1] - 1)
        return torch.istft(spectrum, self.n_fft, self.hop_length, window=self.window, length=samples)
