"""The files of a LLaMA directory: configuration, weights and an optional tokenizer.

Any Hugging Face directory of a LlamaForCausalLM works, of any size and with any tokenizer. This module
neither imports torch nor loads weights.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from core.errors import BadCodes, CheckpointMismatch
from core.tokens.json_tokenizer import JsonTokenizer
from core.tokens.vocabulary import TextTokenizer

TOKENIZERS = ("tokenizer.model", "tokenizer.json")
"""Files of a tokenizer; the first that a directory has is the model's."""

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
    config, tokenizer = folder / "config.json", tokenizer_file(folder)
    if not config.is_file() or not weights:
        raise CheckpointMismatch(
            f"{folder} is not a Hugging Face LLaMA directory: it needs config.json and model*.safetensors "
            "(or pytorch_model*.bin)"
        )
    return [config, *weights, *([tokenizer] if tokenizer else [])]


def tokenizer_file(directory: str | Path) -> Path | None:
    """Return the file of the directory's tokenizer, if it has one."""
    paths = [Path(directory) / name for name in TOKENIZERS]
    return next((path for path in paths if path.is_file()), None)


def read_tokenizer(directory: str | Path, vocab_size: int) -> TextTokenizer | None:
    """Return the tokenizer of the directory, if any. Raises CheckpointMismatch if the model has fewer ids."""
    path = tokenizer_file(directory)
    if path is None:
        return None
    tokenizer = TextTokenizer(path) if path.name == TOKENIZERS[0] else _json_tokenizer(path)
    if len(tokenizer) > vocab_size:
        raise CheckpointMismatch(
            f"{path} has {len(tokenizer)} pieces, its model {vocab_size} ids: they do not fit"
        )
    return tokenizer


def _json_tokenizer(path: Path) -> JsonTokenizer:
    """Read a tokenizer.json with the control ids of config.json, or the defaults of its format."""
    values = json.loads((path.parent / "config.json").read_text(encoding="utf-8"))
    bos_id, eos_id = values.get("bos_token_id", 1), values.get("eos_token_id", 2)
    eos_id = eos_id[0] if isinstance(eos_id, list) else eos_id  # of several the first ends a text
    if not isinstance(bos_id, int) or not isinstance(eos_id, int):
        raise CheckpointMismatch(
            f"{path.parent / 'config.json'} has the bos_token_id {bos_id} and the eos_token_id {eos_id}: a "
            "prompt begins with one and an answer ends with the other; set both"
        )
    try:
        return JsonTokenizer(path, bos_id, eos_id)
    except BadCodes as error:
        raise CheckpointMismatch(f"config.json and {path} do not belong together: {error}") from error
