"""What lies in a LLAMA directory: configuration, weights and, where it is there, the tokenizer.

Any Hugging Face directory of a LlamaForCausalLM will do: 7B, 13B, or a small one of our own.
"""

import hashlib
import json
from pathlib import Path
from typing import Literal

import torch

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import LlamaForCausalLM

from core.errors import CheckpointMismatch
from core.vocabulary import TextTokenizer

DType = Literal["float32", "bfloat16", "float16"]


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


def read_model(directory: str | Path, dtype: DType) -> LlamaForCausalLM:
    """The model on the CPU, ready for inference.

    Raises CheckpointMismatch when it is of another family, or weights are missing or of another shape.
    """
    folder = Path(directory)
    model_files(folder)
    family = json.loads((folder / "config.json").read_text()).get("model_type")
    if family != "llama":
        raise CheckpointMismatch(f"{folder} holds a model of type {family!r}, only 'llama' can be used")
    model, loading = LlamaForCausalLM.from_pretrained(
        folder,
        dtype=getattr(torch, dtype),
        attn_implementation="sdpa",
        local_files_only=True,
        ignore_mismatched_sizes=True,
        output_loading_info=True,
    )
    wrong = {kind: loading[kind] for kind in ("missing_keys", "mismatched_keys") if loading[kind]}
    if wrong:
        raise CheckpointMismatch(f"the weights in {folder} do not fit its config.json: {wrong}")
    return model.eval().requires_grad_(False)


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
