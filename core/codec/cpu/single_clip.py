"""The released blocks for one clip on a CPU: the computation of core.codec.layers, laid out for its caches.

Samples are stored time-major, (T, C), so that a tap of a depthwise convolution is a row, and every other
convolution a matrix product. The scale inside a Snake is folded into the neighboring convolutions. A bias is
not added at once: the stream owes it until the next Snake, which adds a constant anyway. So a residual unit
is two sines, one product and a few passes over buffers that its block allocates once.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from core.codec.attention import LocalMHA
from core.codec.layers import NoiseBlock, ResidualUnit, Snake1d, WaveformDecoder, WaveformEncoder
from core.matmul import product

MARGIN_ROWS = 27
"""Rows of zeros on each side of a padded buffer: three steps of the largest dilation, 9."""

MIN_ALPHA = 1e-6
"""Below it, a Snake is the identity in float32, so alpha is raised to it to avoid division by zero."""


class SingleClipEncoder:
    """The encoder for one clip; it copies the weights when it is made."""

    def __init__(self, encoder: WaveformEncoder) -> None:
        first, *blocks, attention, last = _parts(encoder.block)
        self._first, owed = _matrix(first.weight), _bias(first)
        self._blocks: list[tuple[_Trunk, _Down]] = []
        for block in blocks:
            *units, snake, down = _parts(block.block)
            trunk = _Trunk(units, snake, owed)
            self._blocks.append((trunk, _Down(down, trunk.alpha)))
            owed = _bias(down)
        self._owed = owed
        self._attention: LocalMHA = attention
        self._last = _Taps(last)

    def __call__(self, samples: Tensor) -> Tensor:
        """Encode (T,) samples, whole blocks, to latents (D, T / hop_length)."""
        x = product(functional.pad(samples, (3, 3)).unfold(0, 7, 1), self._first)
        for trunk, down in self._blocks:
            x = down(trunk(x))
        return self._last(_padded(_attend(self._attention, x + self._owed))).T


class SingleClipDecoder:
    """The decoder for one clip; it copies the weights when it is made."""

    def __init__(self, decoder: WaveformDecoder) -> None:
        depthwise, pointwise, attention, *blocks, snake, last, _ = _parts(decoder.model)
        self._first = _Taps(depthwise)
        self._second, self._bias = _matrix(pointwise.weight), _bias(pointwise)
        self._attention: LocalMHA = attention
        self._blocks: list[tuple[_Trunk, _Up]] = []
        units: Sequence[ResidualUnit] = ()
        owed = torch.zeros_like(self._bias)
        for block in blocks:
            before, up, *rest = _parts(block.block)
            trunk = _Trunk(units, before, owed)
            noise = rest.pop(0) if isinstance(rest[0], NoiseBlock) else None
            self._blocks.append((trunk, _Up(up, trunk.alpha, noise)))
            units, owed = rest, _bias(up)
        self._trunk = _Trunk(units, snake, owed)
        self._last = (last.weight[0] / self._trunk.alpha[:, None]).T.contiguous()
        self._last_bias = _bias(last)

    def __call__(self, z_q: Tensor, generator: torch.Generator) -> Tensor:
        """Decode latents (D, T) to (T * hop_length,) samples, with the noise of core.codec.layers."""
        x = product(self._first(_padded(z_q.T)), self._second) + self._bias
        x = _attend(self._attention, x)
        for trunk, up in self._blocks:
            x = up(trunk(x), generator)
        return self._samples(self._trunk(x))

    def _samples(self, padded: Tensor) -> Tensor:
        """Convolve to one channel: multiply each row with each tap, and sum over diagonals."""
        near = padded[MARGIN_ROWS - 3 : len(padded) - MARGIN_ROWS + 3]
        taps = product(near, self._last)  # (T + 6, 7)
        diagonals = taps.as_strided((len(taps) - 6, 7), (7, 8))
        return torch.tanh(diagonals.sum(1) + self._last_bias)


class _Trunk:
    """Residual units and a Snake: overwrites (T, C), returns a padded buffer.

    The buffer holds the Snake's output times alpha (C,). `owed` (C,) is missing from the input.
    """

    def __init__(self, units: Iterable[ResidualUnit], snake: Snake1d, owed: Tensor) -> None:
        self._units: list[_Unit] = []
        for unit in units:
            self._units.append(_Unit(unit, owed))
            owed = owed + _bias(_parts(unit.block)[-1])
        self._snake = _Snake(snake, owed)
        self.alpha = self._snake.alpha

    def __call__(self, x: Tensor) -> Tensor:
        padded = x.new_zeros(len(x) + 2 * MARGIN_ROWS, x.shape[1])
        inside, spare = padded[MARGIN_ROWS:-MARGIN_ROWS], torch.empty_like(x)
        for unit in self._units:
            unit(x, padded, spare)
        self._snake(x, inside, spare)
        return padded


class _Snake:
    """alpha (x + owed) + sin^2(alpha (x + owed)): alpha times the Snake of x + owed."""

    def __init__(self, snake: Snake1d, owed: Tensor) -> None:
        self.alpha = _alpha(snake)
        self._constant = self.alpha * owed

    def __call__(self, x: Tensor, out: Tensor, spare: Tensor) -> None:
        torch.addcmul(self._constant, x, self.alpha, out=out)
        _add_wave(out, spare)


class _Unit:
    """A residual unit, added in place to a stream (T, C) without its last bias."""

    def __init__(self, unit: ResidualUnit, owed: Tensor) -> None:
        snake, depthwise, second, pointwise = _parts(unit.block)
        self._snake = _Snake(snake, owed)
        alpha = _alpha(second)
        self._taps = _Taps(depthwise, alpha, self._snake.alpha)
        self._pointwise = (pointwise.weight[:, :, 0] / alpha).T.contiguous()

    def __call__(self, x: Tensor, padded: Tensor, spare: Tensor) -> None:
        inside = padded[MARGIN_ROWS:-MARGIN_ROWS]
        self._snake(x, inside, spare)
        self._taps(padded, spare)
        _add_wave(spare, inside)
        x.addmm_(spare, self._pointwise)


class _Taps:
    """A depthwise convolution of kernel 7 over a padded buffer, of x / alpha, times `gain`."""

    def __init__(self, conv: nn.Conv1d, gain: Tensor | float = 1.0, alpha: Tensor | float = 1.0) -> None:
        self._taps = (conv.weight[:, 0].T * gain / alpha).contiguous()
        self._bias = _bias(conv) * gain
        self._dilation = conv.dilation[0]

    def __call__(self, padded: Tensor, out: Tensor | None = None) -> Tensor:
        rows = len(padded) - 2 * MARGIN_ROWS
        first, *others = (padded[start : start + rows] for start in self._starts())
        out = torch.addcmul(self._bias, first, self._taps[0], out=out)
        for shifted, tap in zip(others, self._taps[1:], strict=True):
            out.addcmul_(shifted, tap)
        return out

    def _starts(self) -> range:
        return range(MARGIN_ROWS - 3 * self._dilation, MARGIN_ROWS + 3 * self._dilation + 1, self._dilation)


class _Down:
    """A convolution with a kernel of twice its stride, as a product; its bias is owed."""

    def __init__(self, conv: nn.Conv1d, alpha: Tensor) -> None:
        self._stride = conv.stride[0]
        self._padding = math.ceil(self._stride / 2)
        self._weight = _matrix(conv.weight / alpha[:, None])

    def __call__(self, padded: Tensor) -> Tensor:
        rows, channels = padded.shape
        steps = (rows - 2 * MARGIN_ROWS) // self._stride
        start, step = (MARGIN_ROWS - self._padding) * channels, self._stride * channels
        return product(padded.as_strided((steps, 2 * step), (step, 1), start), self._weight)


class _Up:
    """A transposed convolution with a kernel of twice its stride, as a product; its bias is owed.

    Each `stride` rows of the output depend on two rows of the input, so a product over pairs of rows gives
    them.
    """

    def __init__(self, conv: nn.ConvTranspose1d, alpha: Tensor, noise: NoiseBlock | None) -> None:
        self._stride = conv.stride[0]
        self._padding = math.ceil(self._stride / 2)
        cin, cout, _ = conv.weight.shape
        halves = (conv.weight / alpha[:, None, None]).view(cin, cout, 2, self._stride).flip(2)
        self._weight = halves.permute(3, 1, 2, 0).reshape(self._stride * cout, 2 * cin)
        self._noise = _Noise(noise, _bias(conv)) if noise else None

    def __call__(self, padded: Tensor, generator: torch.Generator) -> Tensor:
        rows, channels = padded.shape[0] - 2 * MARGIN_ROWS, padded.shape[1]
        pairs = padded.as_strided((rows + 1, 2 * channels), (channels, 1), (MARGIN_ROWS - 1) * channels)
        spread = product(pairs, self._weight).view((rows + 1) * self._stride, -1)
        x = spread[self._padding : self._padding + rows * self._stride]
        return self._noise(x, generator) if self._noise else x


class _Noise:
    """A NoiseBlock over a stream that is owed a constant."""

    def __init__(self, block: NoiseBlock, owed: Tensor) -> None:
        self._weight = _matrix(block.linear.weight)
        self._constant = product(owed[None], self._weight)

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        noise = torch.randn(len(x), 1, generator=generator)
        return x.addcmul_(noise, product(x, self._weight).add_(self._constant))


def _add_wave(x: Tensor, spare: Tensor) -> None:
    """Compute x + sin(x)^2 in place."""
    if _has_fast_mkl():
        torch.sin(x, out=spare)
    else:
        np.sin(x.numpy(), out=spare.numpy())
    x.addcmul_(spare, spare)


@cache
def _has_fast_mkl() -> bool:
    """Return whether torch's sine (MKL) is the fastest one here.

    On Intel CPUs two threads of it take half as long as one of numpy; on others it is slower.
    """
    described = Path("/proc/cpuinfo")
    return described.is_file() and "GenuineIntel" in described.read_text()


def _attend(attention: LocalMHA, x: Tensor) -> Tensor:
    attended: Tensor = attention(x.T[None])[0].T
    return attended


def _padded(x: Tensor) -> Tensor:
    return functional.pad(x, (0, 0, MARGIN_ROWS, MARGIN_ROWS))


def _parts(sequence: nn.Module) -> list[Any]:
    """Return a Sequential's modules, untyped for mypy."""
    return list(sequence.children())


def _alpha(snake: Snake1d) -> Tensor:
    """Return alpha (C,), at least MIN_ALPHA from zero."""
    alpha = snake.alpha.flatten()
    return torch.where(alpha.abs() < MIN_ALPHA, MIN_ALPHA, alpha)


def _bias(conv: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    assert conv.bias is not None
    return conv.bias.clone()


def _matrix(weight: Tensor) -> Tensor:
    """Return a convolution's weight (N, C, K) as (N, K * C), for a product over K concatenated rows."""
    return weight.transpose(1, 2).flatten(1).contiguous()
