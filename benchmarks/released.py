"""The codec as the research code runs it: weight norm live, codebooks projected on every call.

It stands beside the measured figures as their reference; `check` holds it against ours.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from core.codec import CodecConfig
from core.codec.layers import Encoder


class WeightNormConv1d(nn.Module):
    """A convolution that folds g * v / |v| each time it runs."""

    def __init__(self, conv: nn.Conv1d, gain: Tensor, direction: Tensor) -> None:
        super().__init__()
        self.conv, self.gain, self.direction = conv, gain, direction

    def forward(self, x: Tensor) -> Tensor:
        norm = torch.linalg.vector_norm(self.direction, dim=(1, 2), keepdim=True)
        self.conv.weight.data = self.gain * self.direction / norm
        out: Tensor = self.conv(x)
        return out


class ReleasedCodec:
    """Encodes one clip at a time from a state dict of the published form."""

    def __init__(self, config: CodecConfig, state: Mapping[str, Tensor]) -> None:
        self.config, self.state = config, state
        self.encoder = Encoder(config).eval().requires_grad_(False)
        encoder = {n.removeprefix("encoder."): t for n, t in state.items() if n.startswith("encoder.")}
        self.encoder.load_state_dict(
            {n: t for n, t in encoder.items() if not n.endswith(("weight_g", "weight_v"))}, strict=False
        )
        for name, module in list(self.encoder.named_modules()):
            if isinstance(module, nn.Conv1d):
                live = WeightNormConv1d(module, encoder[f"{name}.weight_g"], encoder[f"{name}.weight_v"])
                parent, _, child = name.rpartition(".")
                setattr(self.encoder.get_submodule(parent), child, live)

    @torch.inference_mode()
    def encode(self, waveform: Tensor) -> list[Tensor]:
        """(1, 1, T) to one (1, T_l) tensor of codes per layer."""
        padded = functional.pad(waveform, (0, -waveform.shape[-1] % self.config.block_length))
        residual, codes = self.encoder(padded), []
        for layer, stride in enumerate(self.config.vq_strides):
            index = _nearest(functional.avg_pool1d(residual, stride), self._projected(layer))
            # the research code projects the whole codebook once more to look the vectors up
            vectors = functional.embedding(index, self._projected(layer)).transpose(1, 2)
            residual = residual - vectors.repeat_interleave(stride, dim=-1)
            codes.append(index)
        return codes

    def _projected(self, layer: int) -> Tensor:
        name = f"quantizer.quantizers.{layer}"
        weight, bias = self.state[f"{name}.cb_proj.weight"], self.state[f"{name}.cb_proj.bias"]
        return functional.linear(self.state[f"{name}.codebook.weight"], weight, bias)


def _nearest(pooled: Tensor, table: Tensor) -> Tensor:
    """Euclidean distance between unit vectors, (1, D, T) against (N, D)."""
    rows = functional.normalize(pooled.transpose(1, 2)[0])
    book = functional.normalize(table)
    distance = rows.square().sum(1, keepdim=True) - 2 * rows @ book.T + book.square().sum(1)
    return (-distance).argmax(dim=1)[None]


def random_state(config: CodecConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under the published names (encoder and quantizer)."""
    state: dict[str, Tensor] = {}
    for name, tensor in Encoder(config).state_dict().items():
        if name.endswith(".weight") and tensor.dim() == 3:
            stem = f"encoder.{name.removesuffix('.weight')}"
            direction = torch.randn(tensor.shape, generator=generator)
            state[f"{stem}.weight_v"] = direction
            state[f"{stem}.weight_g"] = torch.ones(len(tensor), 1, 1)
        else:
            state[f"encoder.{name}"] = tensor
    for layer, size in enumerate(config.codebook_sizes):
        name = f"quantizer.quantizers.{layer}"
        state[f"{name}.codebook.weight"] = torch.randn(size, config.codebook_dim, generator=generator)
        state[f"{name}.cb_proj.weight"] = 0.02 * torch.randn(
            config.latent_dim, config.codebook_dim, generator=generator
        )
        state[f"{name}.cb_proj.bias"] = torch.zeros(config.latent_dim)
    return state
