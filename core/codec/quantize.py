"""Multi-scale residual vector quantization over frozen codebooks (paper, section 3.2, equations 1 and 2).

A layer averages the residual over `stride` frames, takes the codebook vector of largest cosine, and repeats
it over those frames. The codebook is the LLM's embedding table after a learned projection. Both are frozen at
inference, so a layer stores the projected table and never computes it per call.
"""

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.codec.config import CodecConfig
from core.codec.cpu.nearest import RoughSearch, uses_rough_search
from core.errors import BadCodes
from core.matmul import pack_weight, product

ROWS_PER_SECOND = 32
"""Approximate vectors per second of audio, for which a search on a CPU is laid out."""


class VectorQuantize(nn.Module):
    """One layer. `directions` (N, D) are the unit vectors that are searched, `lengths` (N,) their norms."""

    directions: Tensor
    lengths: Tensor

    def __init__(self, codebook_size: int, dim: int, stride: int) -> None:
        super().__init__()
        self.stride = stride
        self.register_buffer("directions", torch.zeros(codebook_size, dim))
        self.register_buffer("lengths", torch.zeros(codebook_size))

    def load_table(self, table: Tensor) -> None:
        """Load the projected codebook (N, D)."""
        self.directions.copy_(functional.normalize(table))
        self.lengths.copy_(torch.linalg.vector_norm(table, dim=-1))
        for made in ("_packed", "_rough"):
            self.__dict__.pop(made, None)

    def encode(self, residual: Tensor) -> Tensor:
        """Quantize (B, D, T) to codes (B, T / stride) int64.

        The length of a query does not change the argmax.
        """
        pooled = functional.avg_pool1d(residual, self.stride)
        rows = pooled.transpose(1, 2).flatten(0, 1)
        return self._nearest(rows).view(residual.shape[0], -1)

    def _nearest(self, rows: Tensor) -> Tensor:
        found = self._rough.nearest(rows) if uses_rough_search(self.directions) else None
        if found is None:
            found = argmax_rows(product(rows, self._packed if rows.is_cpu else self.directions))
        return found

    @cached_property
    def _rough(self) -> RoughSearch:
        return RoughSearch(self.directions)

    @cached_property
    def _packed(self) -> Tensor:
        return pack_weight(self.directions, ROWS_PER_SECOND)

    def decode(self, codes: Tensor) -> Tensor:
        """Decode codes (B, T / stride) to z_q (B, D, T)."""
        vectors = self.directions[codes] * self.lengths[codes].unsqueeze(-1)
        return vectors.transpose(1, 2).repeat_interleave(self.stride, dim=-1)


def argmax_rows(scores: Tensor) -> Tensor:
    """Return the index (R,) int64 of each row's largest score of (R, N) float32, the first of equal ones."""
    if scores.is_cpu:  # numpy finds it ten times as fast as torch
        return torch.from_numpy(scores.float().numpy().argmax(axis=1))
    return scores.argmax(dim=1)


class ResidualVectorQuantize(nn.Module):
    """The layers, coarse to fine; each quantizes the residual of the previous ones."""

    def __init__(self, config: CodecConfig) -> None:
        super().__init__()
        self.quantizers = nn.ModuleList(
            VectorQuantize(size, config.latent_dim, stride)
            for size, stride in zip(config.codebook_sizes, config.vq_strides, strict=True)
        )

    @property
    def layers(self) -> list[VectorQuantize]:
        """The layers, typed."""
        return [layer for layer in self.quantizers if isinstance(layer, VectorQuantize)]

    def encode(self, z: Tensor) -> list[Tensor]:
        """Quantize latents (B, D, T) to one (B, T / stride) int64 tensor per layer."""
        residual, codes = z, []
        for layer in self.layers:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return codes

    def decode(self, codes: Sequence[Tensor]) -> Tensor:
        """Decode codes to z_q (B, D, T), the sum over layers. Raises BadCodes when they do not fit."""
        self._check(codes)
        return torch.stack([layer.decode(c) for layer, c in zip(self.layers, codes, strict=True)]).sum(0)

    def _check(self, codes: Sequence[Tensor]) -> None:
        if len(codes) != len(self.layers):
            raise BadCodes(f"{len(codes)} layers of codes, the codec has {len(self.layers)}")
        frames = {c.shape[-1] * layer.stride for layer, c in zip(self.layers, codes, strict=True)}
        if len(frames) != 1:
            raise BadCodes(f"the layers cover different numbers of frames: {sorted(frames)}")
        for index, (layer, c) in enumerate(zip(self.layers, codes, strict=True)):
            size = len(layer.lengths)
            if c.numel() and (int(c.min()) < 0 or int(c.max()) >= size):
                raise BadCodes(
                    f"layer {index} has codes {int(c.min())} to {int(c.max())}, outside 0 to {size - 1}"
                )
