"""The files of a LLaMA directory: configuration, weights and an optional tokenizer.

Any Hugging Face directory of a LlamaForCausalLM works: 7B, 13B, or a small one. This module neither imports
torch nor loads weights.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import CheckpointMismatch
from core.tokens.vocabulary import TextTokenizer

DType = Literal["float32", "bfloat16", "float16"]


@dataclass(frozen=True, slots=True)
class LlamaSize:
    """Size of a model's vocabulary and of its context, in token ids."""

    vocab_size: int
    context_length: int


def read_size(directory: str | Path) -> LlamaSize:
    """Return the size in config.json, with the format's defaults for missing values."""
    values = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    return LlamaSize(values.get("vocab_size", 32_000), values.get("max_position_embeddings", 2048))


def model_fingerprint(directory: str | Path, dtype: DType) -> str:
    """Return the hex sha256 of configuration, weights, tokenizer and dtype.

    Reads every file completely, which takes a minute for a large model: keep the result.
    """
    digest = hashlib.sha256(f"{dtype}\n".encode())
    for path in model_files(directory):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def model_files(directory: str | Path) -> list[Path]:
    """Return the files that enter the fingerprint, by name. Raises CheckpointMismatch when one is missing."""
    folder = Path(directory)
    weights = sorted(folder.glob("model*.safetensors*")) or sorted(folder.glob("pytorch_model*.bin*"))
    config, tokenizer = folder / "config.json", folder / "tokenizer.model"
    if not config.is_file() or not weights:
        raise CheckpointMismatch(
            f"{folder} is not a Hugging Face LLaMA directory: it needs config.json and model*.safetensors "
            "(or pytorch_model*.bin)"
        )
    return [config, *weights, *([tokenizer] if tokenizer.is_file() else [])]


def read_tokenizer(directory: str | Path, vocab_size: int) -> TextTokenizer | None:
    """Return the tokenizer of the directory, if any. Raises CheckpointMismatch if the model has fewer ids."""
    path = Path(directory) / "tokenizer.model"
    if not path.is_file():
        return None
    tokenizer = TextTokenizer(path)
    if len(tokenizer) > vocab_size:
        raise CheckpointMismatch(
            f"{path} has {len(tokenizer)} pieces, its model {vocab_size} ids: they do not fit"
        )
    return tokenizer
