"""What lies in a LLAMA directory: configuration, weights and, where it is there, the tokenizer.

Any Hugging Face directory of a LlamaForCausalLM will do: 7B, 13B, or a small one of our own. Nothing here
imports torch or loads weights.
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
    """How many token ids a model knows, and how many it holds at once."""

    vocab_size: int
    context_length: int


def read_size(directory: str | Path) -> LlamaSize:
    """Return the size that config.json states, the defaults of the format where it states none."""
    values = json.loads((Path(directory) / "config.json").read_text(encoding="utf-8"))
    return LlamaSize(values.get("vocab_size", 32_000), values.get("max_position_embeddings", 2048))


def model_fingerprint(directory: str | Path, dtype: DType) -> str:
    """Hex sha256 of what decides the model's numbers: configuration, weights, tokenizer and dtype.

    Reads every file in full, which takes a minute for a large model: keep the answer.
    """
    digest = hashlib.sha256(f"{dtype}\n".encode())
    for path in model_files(directory):
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{path.name} {content}\n".encode())
    return digest.hexdigest()


def model_files(directory: str | Path) -> list[Path]:
    """The files that the fingerprint is made of, by name. Raises CheckpointMismatch when one is missing."""
    folder = Path(directory)
    weights = sorted(folder.glob("model*.safetensors*")) or sorted(folder.glob("pytorch_model*.bin*"))
    config, tokenizer = folder / "config.json", folder / "tokenizer.model"
    if not config.is_file() or not weights:
        raise CheckpointMismatch(
            f"{folder} is no Hugging Face LLAMA directory: it needs config.json and model*.safetensors "
            "(or pytorch_model*.bin)"
        )
    return [config, *weights, *([tokenizer] if tokenizer.is_file() else [])]


def read_tokenizer(directory: str | Path, vocab_size: int) -> TextTokenizer | None:
    """The tokenizer beside the weights, if any. Raises CheckpointMismatch when the model has fewer ids."""
    path = Path(directory) / "tokenizer.model"
    if not path.is_file():
        return None
    tokenizer = TextTokenizer(path)
    if len(tokenizer) > vocab_size:
        raise CheckpointMismatch(
            f"{path} has {len(tokenizer)} pieces, the model beside it {vocab_size} ids: they do not fit"
        )
    return tokenizer
