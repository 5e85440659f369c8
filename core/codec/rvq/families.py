"""EnCodec, DAC, Mimi and X-Codec 2: what is particular to each of them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio
from core.codec.rvq.config import RvqConfig
from core.codec.rvq.model import RvqCodec
from core.errors import CheckpointMismatch

# isort: split
from transformers import DacModel, EncodecModel, MimiModel, Xcodec2FeatureExtractor, Xcodec2Model


class EncodecCodec(RvqCodec):
    """EnCodec of one channel (facebook/encodec_24khz)."""

    def _encode_part(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        latents = residual = self.model.encoder(waveform)
        codes = []
        for layer in self.model.quantizer.layers[: self._layers]:
            codes.append(layer.encode(residual))
            residual = residual - layer.decode(codes[-1])
        return torch.cat(codes), latents[0]

    def _decode_row(self, codes: Tensor) -> Tensor:
        waveform: Tensor = self.model.decoder(self.model.quantizer.decode(codes.transpose(0, 1)))
        return waveform


class DacCodec(RvqCodec):
    """Descript Audio Codec (descript/dac_16khz, dac_24khz, dac_44khz)."""

    def _encode_part(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        latents = self.model.encoder(waveform)
        return self.model.quantizer(latents, self._layers)[1][0], latents[0]

    def _decode_row(self, codes: Tensor) -> Tensor:
        waveform: Tensor = self.model.decoder(self.model.quantizer.from_codes(codes)[0])
        return waveform


class MimiCodec(RvqCodec):
    """Mimi (kyutai/mimi)."""

    def _encode_part(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        latents: list[Tensor] = []
        hook = self.model.encoder.downsample.register_forward_hook(lambda *call: latents.append(call[-1]))
        try:
            codes = self.model.encode(waveform, num_quantizers=self._layers).audio_codes
        finally:
            hook.remove()
        return codes[0], latents[0][0]

    def _decode_row(self, codes: Tensor) -> Tensor:
        waveform: Tensor = self.model.decode(codes).audio_values
        return waveform


class Xcodec2Codec(RvqCodec):
    """X-Codec 2 (HKUSTAudio/xcodec2-hf): one layer of 65,536 codes, of sound and of speech features."""

    def _encode_part(self, waveform: Tensor) -> tuple[Tensor, Tensor]:
        extract = Xcodec2FeatureExtractor(hop_length=self.config.hop_length)
        rate = self.config.sample_rate
        features = extract(waveform[0, 0].cpu().numpy(), sampling_rate=rate, return_tensors="pt").to(
            waveform.device
        )
        latents: list[Tensor] = []
        hook = self.model.fc_encoder.register_forward_hook(lambda *call: latents.append(call[-1]))
        try:
            codes = self.model.encode(**features).audio_codes
        finally:
            hook.remove()
        return codes[0], latents[0][0].T

    def _decode_row(self, codes: Tensor) -> Tensor:
        waveform: Tensor = self.model.decode(codes).audio_values
        return waveform.view(1, 1, -1)


FAMILIES: Mapping[str, tuple[type[RvqCodec], Any]] = {
    "encodec": (EncodecCodec, EncodecModel),
    "dac": (DacCodec, DacModel),
    "mimi": (MimiCodec, MimiModel),
    "xcodec2": (Xcodec2Codec, Xcodec2Model),
}
"""By the model type of transformers: our class and theirs."""

DEFAULT_LAYERS = 8
"""Layers that are kept unless another number is given, where a codec has more."""


def describe(model: Any, layers: int | None) -> RvqConfig:
    """Return the shape of a model of transformers with its first layers; None: up to DEFAULT_LAYERS.

    Raises CheckpointMismatch for a model of several channels, and for more layers than it has.
    """
    config = model.config
    sizes, hop_length, latent_dim = _shape(config)
    if getattr(config, "audio_channels", 1) != 1:
        raise CheckpointMismatch(f"the codec has {config.audio_channels} channels: clips are mono")
    kept = min(len(sizes), DEFAULT_LAYERS) if layers is None else layers
    if not 1 <= kept <= len(sizes):
        raise CheckpointMismatch(f"{kept} layers: the codec has 1 to {len(sizes)}")
    return RvqConfig(
        config.model_type, config.sampling_rate, hop_length, sizes[:kept], latent_dim, config.to_diff_dict()
    )


def _shape(config: Any) -> tuple[tuple[int, ...], int, int]:
    """Return the codebook sizes of all layers, samples per frame and width of the latents."""
    match config.model_type:
        case "encodec":
            sizes = (config.codebook_size,) * config.num_quantizers
            return sizes, config.hop_length, config.hidden_size
        case "dac":
            return (config.codebook_size,) * config.n_codebooks, config.hop_length, config.hidden_size
        case "mimi":
            hop_length = round(config.sampling_rate / config.frame_rate)
            return (config.codebook_size,) * config.num_quantizers, hop_length, config.hidden_size
        case _:
            size = 1
            for levels in config.quantization_levels:
                size *= levels
            width = config.hidden_size + config.semantic_model_config.hidden_size
            return (size,), config.hop_length, width


def build(config: RvqConfig, tensors: Mapping[str, Tensor], words: tuple[str, ...]) -> RvqCodec:
    """Return the codec with these tensors. Raises CheckpointMismatch if they do not fit."""
    ours, theirs = family(config.family)
    model = theirs(theirs.config_class(**config.architecture))
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointMismatch(f"the tensors do not fit the configuration: {error}") from error
    return ours(model, config, words)


def family(name: str | None) -> tuple[type[RvqCodec], Any]:
    """Return our class and that of transformers. Raises CheckpointMismatch for an unknown model type."""
    if name is None or name not in FAMILIES:
        raise CheckpointMismatch(f"{name!r} is not a known codec: {', '.join(sorted(FAMILIES))} are")
    return FAMILIES[name]
