"""Model files: the released checkpoint and our directory, both read as the same canonical tensors.

Canonical tensors are float32, with weight-norm pairs folded into plain weights and each codebook projected
(`quantizer.quantizers.N.table`). Both forms of a model have the same fingerprint.
"""

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from core.codec.config import PREPROCESSING_VERSION, CodecConfig
from core.codec.files.directory import (
    CONFIG,
    TOKENIZER,
    WEIGHTS,
    WORDS,
    Shape,
    codec_files,
    directory_words,
)
from core.errors import CheckpointMismatch

RELEASED_KEY = "codec_model"


def canonical(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Fold weight-norm pairs and project codebooks; pass canonical tensors through unchanged."""
    tensors: dict[str, Tensor] = {}
    for name, tensor in state.items():
        stem, _, leaf = name.rpartition(".")
        if leaf == "weight_g":
            tensors[f"{stem}.weight"] = fold_weight_norm(tensor, state[f"{stem}.weight_v"])
        elif leaf == "weight" and stem.endswith(".codebook"):
            layer = stem.removesuffix(".codebook")
            weight, bias = state[f"{layer}.cb_proj.weight"], state[f"{layer}.cb_proj.bias"]
            tensors[f"{layer}.table"] = project_codebook(tensor, weight, bias)
        elif leaf != "weight_v" and not stem.endswith(".cb_proj"):
            tensors[name] = tensor.float().contiguous()
    return tensors


def fold_weight_norm(gain: Tensor, direction: Tensor) -> Tensor:
    """Return g * v / |v|, the norm taken over all axes except the first."""
    dims = list(range(1, direction.dim()))
    norm: Tensor = torch.linalg.vector_norm(direction.double(), dim=dims, keepdim=True)
    return (gain.double() * direction.double() / norm).float()


def project_codebook(codebook: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Project (N, codebook_dim) to (N, latent_dim), in float64 for equal rounding on all machines."""
    rows: tuple[Tensor, ...] = torch.split(
        codebook, 4096
    )  # bounds the float64 copy of a 32,000 x 4,096 table
    return torch.cat([(r.double() @ weight.double().T + bias.double()).float() for r in rows])


def fingerprint(
    tensors: Mapping[str, Tensor], config: Shape, words: tuple[str, ...], dtype: torch.dtype
) -> str:
    """Return the hex sha256 of tensors, configuration, words, preprocessing version and compute dtype."""
    digest = hashlib.sha256()
    for part in (config.to_json(), "\n".join(words), str(PREPROCESSING_VERSION), str(dtype)):
        digest.update(part.encode() + b"\0")
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)}\0".encode())
        digest.update(tensors[name].contiguous().numpy().data)
    return digest.hexdigest()


def read_directory(path: Path) -> tuple[CodecConfig, dict[str, Tensor], tuple[str, ...]]:
    """Read configuration, canonical tensors and words of a codec directory. Raises CheckpointMismatch."""
    codec_files(path)
    config = CodecConfig.from_json(path / CONFIG)
    return config, canonical(load_file(path / WEIGHTS)), directory_words(path)


def write_directory(
    path: Path,
    config: Shape,
    tensors: Mapping[str, Tensor],
    words: tuple[str, ...],
    tokenizer: Path | None = None,
) -> None:
    """Write our form of a codec, with an optional tokenizer; the directory appears complete or not at all."""
    staging = path.with_name(path.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)  # what a kill left
    staging.mkdir(parents=True)
    (staging / CONFIG).write_text(config.to_json())
    save_file({name: tensors[name].contiguous() for name in sorted(tensors)}, staging / WEIGHTS)
    if words:
        (staging / WORDS).write_text("".join(f"{word}\n" for word in words), encoding="utf-8")
    if tokenizer:
        shutil.copyfile(tokenizer, staging / TOKENIZER)
    staging.rename(path)


def check_shapes(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise CheckpointMismatch with the first tensors that are missing, unknown or of the wrong shape."""
    wrong = [f"{name} is missing" for name in expected if name not in tensors]
    wrong += [f"{name} is not part of this shape of codec" for name in tensors if name not in expected]
    wrong += [
        f"{name} is {tuple(tensors[name].shape)}, the configuration says {tuple(expected[name].shape)}"
        for name in expected
        if name in tensors and tensors[name].shape != expected[name].shape
    ]
    if wrong:
        raise CheckpointMismatch(f"{len(wrong)} tensors do not fit: " + "; ".join(wrong[:4]))
