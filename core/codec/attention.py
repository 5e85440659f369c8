"""Attention within windows of a few frames, aligned to absolute position."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.matmul import product

HEAD_DIM = 64


class RotaryEmbedding(nn.Module):
    """Angles of the rotary position embedding, counted from the start of each window."""

    inv_freq: Tensor

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 10000.0 ** (-torch.arange(0, dim, 2).float() / dim))

    def forward(self, length: int) -> Tensor:
        position = torch.arange(length, device=self.inv_freq.device, dtype=self.inv_freq.dtype)
        angles = torch.outer(position, self.inv_freq)
        return torch.cat((angles, angles), dim=-1)  # (n, d)


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * angles.cos() + torch.cat((-second, first), dim=-1) * angles.sin()


class LocalMHA(nn.Module):
    """Multi-head attention within windows of `window_size` frames, with a residual.

    The number of frames must be a multiple of the window.
    """

    def __init__(self, dim: int, window_size: int) -> None:
        super().__init__()
        self.heads = dim // HEAD_DIM
        self.window_size = window_size
        self.norm = nn.LayerNorm(dim)
        self.to_qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.rel_pos = RotaryEmbedding(HEAD_DIM)
        self.to_out = nn.Linear(dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        windows = x.shape[-1] // self.window_size
        qkv = product(self.norm(x.transpose(1, 2)), self.to_qkv.weight)  # (B, T, 3C)
        qkv = qkv.view(len(x), windows, self.window_size, 3, self.heads, HEAD_DIM)
        q, k, v = qkv.permute(3, 0, 4, 1, 2, 5)  # each (B, h, w, n, d)
        angles = self.rel_pos(self.window_size)
        out = functional.scaled_dot_product_attention(rotate(q, angles), rotate(k, angles), v)
        out = out.permute(0, 2, 3, 1, 4).flatten(3).flatten(1, 2)  # (B, T, C)
        return product(out, self.to_out.weight).transpose(1, 2) + x
