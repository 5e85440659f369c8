"""The codec as the research code runs it: weight norm live, codebooks projected on every call.

It stands beside the measured figures as their reference; `golden_difference` holds it against numbers that
the research code left. Its convolutions and activations are ours, which are no slower.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import weight_norm

from core.codec import CodecConfig
from core.codec.layers import WaveformDecoder, WaveformEncoder


class ReleasedCodec(nn.Module):
    """Encodes and decodes one clip at a time from a state dict of the published form."""

    def __init__(self, config: CodecConfig, state: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.config, self.state = config, state
        self.encoder, self.decoder = WaveformEncoder(config), WaveformDecoder(config)
        for module in list(self.modules()):
            if isinstance(module, nn.Conv1d | nn.ConvTranspose1d):
                weight_norm(module)
        self.load_state_dict({n: t for n, t in state.items() if not n.startswith("quantizer.")})
        self.eval().requires_grad_(False)

    @torch.inference_mode()
    def encode(self, waveform: Tensor) -> list[Tensor]:
        """(1, 1, T) to one (1, T_l) tensor of codes per layer."""
        padded = functional.pad(waveform, (0, -waveform.shape[-1] % self.config.block_length))
        residual, codes = self.encoder(padded), []
        for layer, stride in enumerate(self.config.vq_strides):
            index = _nearest(functional.avg_pool1d(residual, stride), self._projected(layer))
            # the research code projects the whole codebook once more to look the vectors up
            residual = residual - self._vectors(layer, index)
            codes.append(index)
        return codes

    @torch.inference_mode()
    def decode(self, codes: Sequence[Tensor], seed: int = 0) -> Tensor:
        """Decode one (1, T_l) tensor of codes per layer to a waveform (1, 1, T) of the padded length."""
        z_q = torch.stack([self._vectors(layer, index) for layer, index in enumerate(codes)]).sum(0)
        waveform: Tensor = self.decoder(z_q, [torch.Generator().manual_seed(seed)])
        return waveform

    def _vectors(self, layer: int, index: Tensor) -> Tensor:
        """Codes (1, T_l) to vectors (1, D, T), each repeated over its frames."""
        vectors = functional.embedding(index, self._projected(layer)).transpose(1, 2)
        return vectors.repeat_interleave(self.config.vq_strides[layer], dim=-1)

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


def golden_difference(folder: Path) -> tuple[float, float]:
    """Against the research code's own numbers: the share of codes that agree, and the largest difference of
    decoded samples."""
    config = CodecConfig.from_json(folder / "config.json")
    codec = ReleasedCodec(config, load_file(folder / "model.safetensors"))
    vectors = load_file(folder / "vectors.safetensors")
    same, largest = [], 0.0
    for clip in sorted({name.partition(".")[0] for name in vectors}):
        codes = codec.encode(vectors[f"{clip}.audio"][None, None])
        same += [layer[0] == vectors[f"{clip}.codes{n}"] for n, layer in enumerate(codes)]
        difference = codec.decode(codes)[0, 0] - vectors[f"{clip}.decoded"]
        largest = max(largest, float(difference.abs().max()))
    return float(torch.cat(same).float().mean()), largest


def random_state(config: CodecConfig, generator: torch.Generator) -> dict[str, Tensor]:
    """Random weights under the published names."""
    state: dict[str, Tensor] = {}
    for part, module in (("encoder", WaveformEncoder(config)), ("decoder", WaveformDecoder(config))):
        for name, tensor in module.state_dict().items():
            state |= _random_tensor(f"{part}.{name}", tensor, generator)
    for layer, size in enumerate(config.codebook_sizes):
        name = f"quantizer.quantizers.{layer}"
        state[f"{name}.codebook.weight"] = torch.randn(size, config.codebook_dim, generator=generator)
        state[f"{name}.cb_proj.weight"] = 0.02 * torch.randn(
            config.latent_dim, config.codebook_dim, generator=generator
        )
        state[f"{name}.cb_proj.bias"] = torch.zeros(config.latent_dim)
    return state


def _random_tensor(name: str, tensor: Tensor, generator: torch.Generator) -> dict[str, Tensor]:
    """Return the pair of a convolution's weight; anything else as it is initialized."""
    stem, _, leaf = name.rpartition(".")
    if leaf != "weight" or tensor.dim() != 3:
        return {name: tensor}
    direction = torch.randn(tensor.shape, generator=generator)
    return {f"{stem}.weight_g": torch.ones(len(tensor), 1, 1), f"{stem}.weight_v": direction}
