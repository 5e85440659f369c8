"""The weights of a LLaMA directory as a model."""

import json
from pathlib import Path

import torch

from core.errors import CheckpointMismatch
from core.llama.files import DType, model_files
from core.llama.huggingface import LlamaForCausalLM


def read_model(directory: str | Path, dtype: DType) -> LlamaForCausalLM:
    """Load the model on the CPU, ready for inference.

    Raises CheckpointMismatch for another model family, or for missing weights or wrong shapes.
    """
    folder = Path(directory)
    model_files(folder)
    family = json.loads((folder / "config.json").read_text()).get("model_type")
    if family != "llama":
        raise CheckpointMismatch(f"{folder} holds a model of type {family!r}, only 'llama' is supported")
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
