"""Small codecs of transformers with random weights, for tests of everything except how they sound."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import (
    DacConfig,
    DacModel,
    EncodecConfig,
    EncodecModel,
    MimiConfig,
    MimiModel,
    Xcodec2Config,
    Xcodec2Model,
)

FIRST = ("encoder.layers.0.", "encoder.conv1.", "acoustic_encoder.conv1.", "fc_encoder.")
HEADS = {"num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}


def _encodec() -> Any:
    shape = {"num_filters": 4, "hidden_size": 16, "codebook_dim": 16, "num_lstm_layers": 1}
    return EncodecModel(EncodecConfig(**shape))


def _dac() -> Any:
    # the width of the latents is 16 times that of the first layer
    return DacModel(DacConfig(encoder_hidden_size=4, decoder_hidden_size=32, codebook_size=64))


def _mimi() -> Any:
    narrow = {"hidden_size": 32, "num_filters": 4, "codebook_dim": 16, "head_dim": 16, "codebook_size": 64}
    others = {"vector_quantization_hidden_dimension": 16, "upsample_groups": 32, "num_key_value_heads": 2}
    return MimiModel(MimiConfig(**narrow, **others, **HEADS))


def _xcodec2() -> Any:
    speech = {"model_type": "wav2vec2-bert", "hidden_size": 32, "feature_projection_input_dim": 160, **HEADS}
    narrow = {"hidden_size": 32, "head_dim": 16, "encoder_hidden_size": 4, "quantization_dim": 64}
    shape = {**narrow, "num_key_value_heads": 2, "semantic_model_config": speech, **HEADS}
    return Xcodec2Model(Xcodec2Config(**shape))


MAKERS: dict[str, Callable[[], Any]] = {"encodec": _encodec, "dac": _dac, "mimi": _mimi, "xcodec2": _xcodec2}


def write_codec(name: str, folder: Path) -> Any:
    """Write a codec as transformers does, and return it.

    Its codebooks are drawn, for they begin as zeros, and its first weights are large, so that codes differ.
    """
    with torch.random.fork_rng():
        torch.manual_seed(5)
        model = MAKERS[name]().eval()
        for buffer, tensor in model.named_buffers():
            if buffer.endswith((".embed", ".embed_sum")):
                tensor.normal_()
        with torch.no_grad():
            for parameter, weights in model.named_parameters():
                if parameter.startswith(FIRST) and weights.dim() > 1:
                    weights *= 2000
    model.save_pretrained(folder)
    return model
