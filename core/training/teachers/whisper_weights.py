"""From a CTranslate2 Whisper, as packages carry it, to a directory of the transformers class WhisperModel.

CTranslate2 joins the projections of an attention to one matrix, and keeps of the layer norms `gamma` and
`beta`; all else is the same numbers under other names. Whisper's keys have no bias, so zeros stand in its
place in the joined one.
"""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from core.embeddings.description import file_sha256
from core.errors import CheckpointMismatch
from core.llama.huggingface import transformers
from core.training.teachers.ctranslate2_file import StoredModel, read_model

LICENSE = "MIT (Whisper by OpenAI)"
WEIGHTS, SOURCE = "model.safetensors", "source.json"
PAD = 50_256
"""Whisper's id for filling up."""
TEXTS = ("tokenizer.json",)
"""Files that are copied where they are beside the model."""

LAYER_NAMES = {
    "layer_norm/gamma": "layer_norm.weight",
    "layer_norm/beta": "layer_norm.bias",
    "conv1/weight": "conv1.weight",
    "conv1/bias": "conv1.bias",
    "conv2/weight": "conv2.weight",
    "conv2/bias": "conv2.bias",
    "position_encodings/encodings": "embed_positions.weight",
    "embeddings/weight": "embed_tokens.weight",
    "self_attention/layer_norm/gamma": "self_attn_layer_norm.weight",
    "self_attention/layer_norm/beta": "self_attn_layer_norm.bias",
    "attention/layer_norm/gamma": "encoder_attn_layer_norm.weight",
    "attention/layer_norm/beta": "encoder_attn_layer_norm.bias",
    "ffn/layer_norm/gamma": "final_layer_norm.weight",
    "ffn/layer_norm/beta": "final_layer_norm.bias",
    "ffn/linear_0/weight": "fc1.weight",
    "ffn/linear_0/bias": "fc1.bias",
    "ffn/linear_1/weight": "fc2.weight",
    "ffn/linear_1/bias": "fc2.bias",
}
"""Names inside the encoder, the decoder and one of their layers."""
JOINED = {
    "self_attention/linear_0": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attention/linear_1": ("self_attn.out_proj",),
    "attention/linear_0": ("encoder_attn.q_proj",),
    "attention/linear_1": ("encoder_attn.k_proj", "encoder_attn.v_proj"),
    "attention/linear_2": ("encoder_attn.out_proj",),
}
"""Projections of an attention, in the order in which they are joined."""
SETTINGS = {"num_heads", "activation", "alibi", "alignment_heads", "alignment_layer", "pre_norm"} | {
    "scale_embeddings",
    "start_from_zero_embedding",
}
"""Numbers among the tensors that are no weights."""


@dataclass(frozen=True)
class ConvertedWhisper:
    """What was read and written, by sha256, and the license of the weights."""

    source_sha256: str
    sha256: str
    width: int
    license: str = LICENSE


def convert_whisper(source: Path, output: Path) -> ConvertedWhisper:
    """Write `output`, which must not exist yet, from a directory with a `model.bin`.

    Raises CheckpointMismatch for a model of another kind, for one in whole numbers, and where tensors are
    missing or left over.
    """
    if output.exists():
        raise CheckpointMismatch(f"{output} exists already: converting writes a new directory")
    file = source / "model.bin"
    if not file.is_file():
        raise CheckpointMismatch(f"{source} has no model.bin: name the directory of a CTranslate2 Whisper")
    stored = read_model(file)
    model = whisper_model(stored)
    model.save_pretrained(output)
    _feature_extractor(model).save_pretrained(output)
    for name in TEXTS:
        if (source / name).is_file():
            shutil.copyfile(source / name, output / name)
    written = ConvertedWhisper(file_sha256(file), file_sha256(output / WEIGHTS), model.config.d_model)
    (output / SOURCE).write_text(json.dumps(asdict(written), indent=1) + "\n", encoding="utf-8")
    return written


def whisper_model(stored: StoredModel) -> Any:
    """Return the WhisperModel of a stored one, in float32. Raises CheckpointMismatch."""
    if stored.kind != "WhisperSpec":
        raise CheckpointMismatch(f"the model is a {stored.kind}: a WhisperSpec is needed")
    state = {name: tensor.float() for name, tensor in _named(stored.tensors)}
    model = transformers.WhisperModel(_config(stored.tensors)).eval()
    found = model.load_state_dict(state, strict=False)
    if found.missing_keys or found.unexpected_keys:
        raise CheckpointMismatch(
            f"the model lacks {found.missing_keys[:3]} and has {found.unexpected_keys[:3]} beside what a "
            "Whisper has: it is of another kind"
        )
    return model


def _config(tensors: Mapping[str, Tensor]) -> Any:
    words, width = tensors["decoder/embeddings/weight"].shape
    return transformers.WhisperConfig(
        vocab_size=words,
        pad_token_id=min(PAD, words - 1),
        d_model=width,
        num_mel_bins=tensors["encoder/conv1/weight"].shape[1],
        max_source_positions=tensors["encoder/position_encodings/encodings"].shape[0],
        max_target_positions=tensors["decoder/position_encodings/encodings"].shape[0],
        **_stack("encoder", tensors),
        **_stack("decoder", tensors),
    )


def _stack(part: str, tensors: Mapping[str, Tensor]) -> dict[str, int]:
    """Return layers, heads and inner width of the encoder or the decoder."""
    layers = {match[1] for name in tensors if (match := re.match(rf"{part}/layer_(\d+)/", name))}
    return {
        f"{part}_layers": len(layers),
        f"{part}_attention_heads": int(tensors[f"{part}/num_heads"]),
        f"{part}_ffn_dim": tensors[f"{part}/layer_0/ffn/linear_0/bias"].shape[0],
    }


def _named(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Yield the weights under their names in transformers, joined ones taken apart."""
    for name, tensor in tensors.items():
        part, _, inner = name.partition("/")
        if inner in SETTINGS:
            continue
        prefix = f"{part}."
        if match := re.fullmatch(r"layer_(\d+)/(.*)", inner):
            prefix, inner = f"{part}.layers.{match[1]}.", match[2]
        joined, _, kind = inner.rpartition("/")
        if joined in JOINED and kind in ("weight", "bias"):
            yield from _taken_apart(prefix, joined, kind, tensor)
        else:
            yield prefix + _plain_name(name, inner), tensor


def _taken_apart(prefix: str, joined: str, kind: str, tensor: Tensor) -> Iterator[tuple[str, Tensor]]:
    names = JOINED[joined]
    for name, rows in zip(names, tensor.chunk(len(names)), strict=True):
        if not (kind == "bias" and name.endswith("k_proj")):
            yield f"{prefix}{name}.{kind}", rows


def _plain_name(name: str, inner: str) -> str:
    if inner not in LAYER_NAMES:
        hint = (
            ": it is in whole numbers, convert it again with quantization float16" if "scale" in inner else ""
        )
        raise CheckpointMismatch(f"a Whisper has no tensor {name}{hint}")
    return LAYER_NAMES[inner]


def _feature_extractor(model: Any) -> Any:
    return transformers.WhisperFeatureExtractor(feature_size=model.config.num_mel_bins)
