"""The trainable residual quantizer: codebooks followed by a projection (paper, section 3.2).

Parameters have the released names (`quantizers.N.codebook.weight`, `quantizers.N.cb_proj.*`), so that
`core.codec.files.checkpoint.canonical` converts a trained state like a published one.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.codec.config import CodecConfig


@dataclass(frozen=True)
class Quantized:
    """z_q (B, D, T) and the part of each layer, both straight-through; codes (B, T / stride) per layer."""

    z_q: Tensor
    layers: list[Tensor]
    codes: list[Tensor]
    commitment: Tensor
    codebook: Tensor


class TrainableLayer(nn.Module):
    """One layer: a codebook (N, codebook_dim), frozen or not, and a trainable projection."""

    def __init__(self, codebook: Tensor, dim: int, stride: int, *, update: bool) -> None:
        super().__init__()
        self.stride = stride
        rows, width = codebook.shape
        self.codebook = nn.Embedding(
            rows, width, _weight=codebook.clone() if update else codebook, _freeze=not update
        )
        self.cb_proj = nn.Linear(codebook.shape[1], dim)

    def forward(self, residual: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Quantize (B, D, T) to straight-through z_q (B, D, T), codes, commitment and codebook loss."""
        pooled = functional.avg_pool1d(residual, self.stride)
        table: Tensor = self.cb_proj(self.codebook.weight)
        codes = nearest(pooled, table)
        chosen = functional.embedding(codes, table).transpose(1, 2)
        commitment = functional.mse_loss(pooled, chosen.detach())
        codebook = functional.mse_loss(chosen, pooled.detach())
        straight = pooled + (chosen - pooled).detach()
        return straight.repeat_interleave(self.stride, dim=-1), codes, commitment, codebook

    @torch.no_grad()
    def match_moments(self, residual: Tensor) -> None:
        """Give the projected codebook the mean and covariance of the pooled residual.

        The principal axes of the codebook are aligned to those of the residual. Without this, training from a
        default projection ends with a handful of codes in use.
        """
        pooled = functional.avg_pool1d(residual, self.stride).transpose(1, 2).flatten(0, 1).double()
        book = self.codebook.weight.double()
        axes, spread = principal_axes(pooled)
        book_axes, book_spread = principal_axes(book)
        count = min(len(spread), len(book_spread))
        scale = spread[:count] / book_spread[:count].clamp(min=1e-8)
        weight = axes[:, :count] * scale @ book_axes[:, :count].T
        self.cb_proj.weight.copy_(weight)
        self.cb_proj.bias.copy_(pooled.mean(0) - weight @ book.mean(0))


@torch.no_grad()
def nearest(pooled: Tensor, table: Tensor) -> Tensor:
    """Return codes (B, T) of the largest cosine for (B, D, T) and a table (N, D)."""
    return (pooled.transpose(1, 2) @ functional.normalize(table).T).argmax(dim=-1)


def principal_axes(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the axes (D, D) of (M, D) as columns, widest first with fixed signs, and deviations (D,)."""
    variance, axes = torch.linalg.eigh(torch.cov(rows.T))
    axes, variance = axes.flip(1), variance.flip(0)
    signs = axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    return axes * signs, variance.clamp(min=0.0).sqrt()


class TrainableQuantizer(nn.Module):
    """The layers, coarse to fine; each quantizes the residual of the previous ones (equations 1 and 2)."""

    def __init__(self, config: CodecConfig, codebooks: Sequence[Tensor], *, update: bool) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            TrainableLayer(codebook, config.latent_dim, stride, update=update)
            for codebook, stride in zip(codebooks, config.vq_strides, strict=True)
        )

    def forward(self, z: Tensor) -> Quantized:
        residual, layers, codes = z, [], []
        commitment = codebook = z.new_zeros(())
        for layer in self.quantizers:
            z_q, layer_codes, layer_commitment, layer_codebook = layer(residual)
            residual = residual - z_q
            layers.append(z_q)
            codes.append(layer_codes)
            commitment = commitment + layer_commitment
            codebook = codebook + layer_codebook
        return Quantized(torch.stack(layers).sum(0), layers, codes, commitment, codebook)

    @torch.no_grad()
    def match_moments(self, z: Tensor) -> None:
        """Fit every projection to the residual it will see, first layer first."""
        residual = z
        for layer in self.quantizers:
            assert isinstance(layer, TrainableLayer)
            layer.match_moments(residual)
            residual = residual - layer(residual)[0]
