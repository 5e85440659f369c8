"""The weights of a LLaMA directory as a model."""

import json
from pathlib import Path

import torch

from core.errors import CheckpointMismatch
from core.llama.files import DType, model_files
from core.llama.huggingface import LlamaForCausalLM

LENGTH_DEPENDENT_ROPES = ("dynamic", "longrope")


def read_model(directory: str | Path, dtype: DType) -> LlamaForCausalLM:
    """Load the model on the CPU, ready for inference.

    Raises CheckpointMismatch for another model family, or for missing weights or wrong shapes.
    """
    folder = Path(directory)
    model_files(folder)
    _check_config(folder)
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


def _check_config(folder: Path) -> None:
    """Raise CheckpointMismatch for another family, and for positions that depend on the prompt's length.

    A prefix that is read once would have other positions than the same prefix in a longer prompt.
    """
    values = json.loads((folder / "config.json").read_text())
    if (family := values.get("model_type")) != "llama":
        raise CheckpointMismatch(f"{folder} holds a model of type {family!r}, only 'llama' is supported")
    rope = values.get("rope_parameters") or values.get("rope_scaling") or {}
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind in LENGTH_DEPENDENT_ROPES:
        raise CheckpointMismatch(
            f"{folder} scales its positions by {kind!r}, which changes them with the length of the prompt: "
            "prompts that are shared between clips need one of a fixed scale, such as 'llama3' or 'linear'"
        )
