"""Encoder and decoder of the LLM-Codec as released (paper, section 3.2; kernel sizes from the released code).

Module names follow the released tensor names, so that a published checkpoint loads by name. Convolutions have
plain weights: the weight-norm pairs of a checkpoint are folded when it is read.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from core.codec.attention import LocalMHA
from core.codec.config import CodecConfig


class Snake1d(nn.Module):
    """x + sin(alpha x)^2 / alpha, one alpha per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, channels, 1))

    def forward(self, x: Tensor) -> Tensor:
        # in place: the encoder is bound by memory traffic, and this halves what the activations allocate
        wave = (self.alpha * x).sin_().square_()
        return torch.addcmul(x, wave, (self.alpha + 1e-9).reciprocal())


class ResidualUnit(nn.Module):
    """Dilated kernel-7 and pointwise convolution, each after a Snake, with a skip; keeps the length."""

    def __init__(self, dim: int, dilation: int, groups: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            Snake1d(dim),
            nn.Conv1d(dim, dim, 7, dilation=dilation, padding=3 * dilation, groups=groups),
            Snake1d(dim),
            nn.Conv1d(dim, dim, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return x + out


def residual_units(dim: int, depthwise: bool) -> list[ResidualUnit]:
    groups = dim if depthwise else 1
    return [ResidualUnit(dim, dilation, groups) for dilation in (1, 3, 9)]


class EncoderBlock(nn.Module):
    """Three residual units and a convolution that divides the length by `stride`."""

    def __init__(self, input_dim: int, output_dim: int, stride: int, depthwise: bool) -> None:
        super().__init__()
        self.block = nn.Sequential(
            *residual_units(input_dim, depthwise),
            Snake1d(input_dim),
            nn.Conv1d(input_dim, output_dim, 2 * stride, stride=stride, padding=math.ceil(stride / 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.block(x)
        return out


class WaveformEncoder(nn.Module):
    """Encoder of (B, 1, T) samples to (B, D, T / hop_length) latents."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.encoder_dim
        layers: list[nn.Module] = [nn.Conv1d(1, dim, 7, padding=3)]
        for stride in config.encoder_rates:
            layers.append(EncoderBlock(dim, 2 * dim, stride, config.depthwise))
            dim *= 2
        layers.append(LocalMHA(dim, config.attn_window_size))
        layers.append(nn.Conv1d(dim, dim, 7, padding=3, groups=dim if config.depthwise else 1))
        self.block = nn.Sequential(*layers)

    def forward(self, waveform: Tensor) -> Tensor:
        out: Tensor = self.block(waveform)
        return out


class NoiseBlock(nn.Module):
    """x + n * linear(x), with one standard normal n per row and step from that row's generator."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.linear = nn.Conv1d(dim, dim, 1, bias=False)

    def forward(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        # drawn on the CPU: the same seed gives the same sound on every device and in every batch
        noise = torch.stack([torch.randn(1, x.shape[-1], generator=g) for g in generators])
        out: Tensor = x + noise.to(x) * self.linear(x)
        return out


class DecoderBlock(nn.Module):
    """Transposed convolution that multiplies the length by `stride`, noise, three residual units."""

    def __init__(self, input_dim: int, output_dim: int, stride: int, *, noise: bool, depthwise: bool) -> None:
        super().__init__()
        upsample = nn.ConvTranspose1d(
            input_dim,
            output_dim,
            2 * stride,
            stride=stride,
            padding=math.ceil(stride / 2),
            output_padding=stride % 2,
        )
        layers: list[nn.Module] = [Snake1d(input_dim), upsample]
        layers += [NoiseBlock(output_dim)] if noise else []
        layers += residual_units(output_dim, depthwise)
        self.block = nn.Sequential(*layers)

    def forward(self, x: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        for layer in self.block:
            x = layer(x, generators) if isinstance(layer, NoiseBlock) else layer(x)
        return x


class WaveformDecoder(nn.Module):
    """Decoder of (B, D, T) latents to (B, 1, T * hop_length) samples between -1 and 1."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        dim = config.decoder_dim
        layers: list[nn.Module] = [*_decoder_input(config), LocalMHA(dim, config.attn_window_size)]
        for stride in config.decoder_rates:
            block = DecoderBlock(dim, dim // 2, stride, noise=config.noise, depthwise=config.depthwise)
            layers.append(block)
            dim //= 2
        layers += [Snake1d(dim), nn.Conv1d(dim, 1, 7, padding=3), nn.Tanh()]
        self.model = nn.Sequential(*layers)

    def forward(self, z_q: Tensor, generators: Sequence[torch.Generator]) -> Tensor:
        x = z_q
        for layer in self.model:
            x = layer(x, generators) if isinstance(layer, DecoderBlock) else layer(x)
        return x


def _decoder_input(config: CodecConfig) -> list[nn.Module]:
    latent, dim = config.latent_dim, config.decoder_dim
    if not config.depthwise:
        return [nn.Conv1d(latent, dim, 7, padding=3)]
    return [nn.Conv1d(latent, latent, 7, padding=3, groups=latent), nn.Conv1d(latent, dim, 1)]
