"""Conversion of a GGUF file of a LLaMA to a directory that is loaded like any other."""

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from core.errors import CheckpointMismatch, MissingPackage
from core.llama.files import DType, model_fingerprint
from core.llama.huggingface import LlamaForCausalLM, transformers

# isort: split
from transformers.utils.logging import disable_progress_bar


@dataclass(frozen=True)
class ConvertedLlm:
    """A converted model: its fingerprint on a CPU, parameters, and the license that the file states."""

    fingerprint: str
    parameters: int
    license: str


def convert_llm(source: Path, output: Path, dtype: DType = "float32") -> ConvertedLlm:
    """Write the weights of a GGUF file, dequantized, with configuration and tokenizer to a new directory.

    Raises CheckpointMismatch when `output` exists or the file has another family, MissingPackage without the
    reader of GGUF.
    """
    _check_packages()
    if output.exists():
        raise CheckpointMismatch(f"{output} already exists: choose a new directory")
    stated_license = _check_file(source)
    disable_progress_bar()
    place: dict[str, Any] = {"pretrained_model_name_or_path": source.parent, "gguf_file": source.name}
    tokenizer = transformers.AutoTokenizer.from_pretrained(**place)
    model = LlamaForCausalLM.from_pretrained(**place, dtype=getattr(torch, dtype))
    staging = output.with_name(output.name + ".partial")
    shutil.rmtree(staging, ignore_errors=True)  # what a kill left
    staging.mkdir(parents=True)
    _write_model(model, staging)
    tokenizer.backend_tokenizer.save(str(staging / "tokenizer.json"))
    staging.rename(output)
    return ConvertedLlm(model_fingerprint(output, "float32"), model.num_parameters(), stated_license)


def _write_model(model: LlamaForCausalLM, directory: Path) -> None:
    """Write configuration and weights; transformers itself refuses to save what it read from a GGUF."""
    config = model.config
    config.name_or_path, config.architectures = "", [type(model).__name__]
    del config.quantization_config  # the weights are plain from here on
    config.save_pretrained(directory)
    tied = {"lm_head.weight"} if config.tie_word_embeddings else set[str]()
    tensors = {name: tensor for name, tensor in model.state_dict().items() if name not in tied}
    save_file(tensors, directory / "model.safetensors", metadata={"format": "pt"})


def _check_packages() -> None:
    for package in ("gguf", "accelerate"):
        if find_spec(package) is None:
            raise MissingPackage("GGUF files", package, "gguf")


def _check_file(source: Path) -> str:
    """Return the license that the file states. Raises CheckpointMismatch unless it is a GGUF of a LLaMA."""
    from gguf import GGUFReader

    try:
        fields = GGUFReader(source).fields
    except (ValueError, IndexError, OSError) as error:
        raise CheckpointMismatch(f"{source} is not a GGUF file: {error}") from error
    values = {
        name: fields[name].contents()
        for name in ("general.architecture", "general.license")
        if name in fields
    }
    if (family := values.get("general.architecture")) != "llama":
        raise CheckpointMismatch(
            f"{source} holds a model of the family {family!r}, only 'llama' is supported"
        )
    return str(values.get("general.license", "not stated"))
