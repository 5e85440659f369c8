"""Conversion of the released files (checkpoint, embeddings, word list) to our directory format."""

from dataclasses import dataclass, replace
from pathlib import Path
from pickle import UnpicklingError
from typing import Literal

import torch
from torch import Tensor

from core.codec.config import CodecConfig
from core.codec.files import checkpoint
from core.codec.files.directory import check_words, read_words
from core.codec.model import LLMCodec
from core.errors import CheckpointMismatch

FirstCodebook = Literal["words", "llama"]
"""Rows of the semantic codebook: the 3,248 words of the paper, or all 32,000 LLaMA pieces."""

LLAMA_VOCABULARY_SIZE = 32000


@dataclass(frozen=True)
class ReleasedFiles:
    """The published files. Embeddings are only needed when the checkpoint has no codebooks.

    With the tokenizer of LLaMA 2 in the codec's directory, acoustic codes have words too.
    """

    checkpoint: Path
    words: Path | None = None
    llama_embeddings: Path | None = None
    word_embeddings: Path | None = None
    tokenizer: Path | None = None


def convert(files: ReleasedFiles, output: Path, *, config: CodecConfig, first: FirstCodebook) -> LLMCodec:
    """Write the new directory `output` and return the codec read back from it.

    Raises CheckpointMismatch when `output` exists, or when the shapes, the words or the first codebook differ
    from the configuration.
    """
    if output.exists():
        raise CheckpointMismatch(f"{output} already exists: choose a new directory")
    state = released_state(files)
    config = _with_first_codebook(config, state, first)
    words = read_words(files.words) if files.words and first == "words" else ()
    check_words(words, config)
    tensors = checkpoint.canonical(state)
    with torch.device("meta"):
        checkpoint.check_shapes(tensors, LLMCodec(config).canonical())
    checkpoint.write_directory(output, config, tensors, words, files.tokenizer)
    return LLMCodec.from_directory(output)


def released_state(files: ReleasedFiles) -> dict[str, Tensor]:
    """Return the tensors of the released checkpoint, with missing codebooks read from the embedding files."""
    loaded = _load(files.checkpoint)
    if checkpoint.RELEASED_KEY not in loaded:
        raise CheckpointMismatch(
            f"{files.checkpoint} has no key {checkpoint.RELEASED_KEY!r}; its keys are {sorted(loaded)[:8]}"
        )
    state: dict[str, Tensor] = dict(loaded[checkpoint.RELEASED_KEY])
    sources = [files.word_embeddings, files.llama_embeddings, files.llama_embeddings]
    for index, source in enumerate(sources):
        name = f"quantizer.quantizers.{index}.codebook.weight"
        if name not in state and source is not None:
            state[name] = _embeddings(source)
    return state


def _load(path: Path) -> dict[str, dict[str, Tensor]]:
    try:
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointMismatch(f"{path} is not a torch checkpoint of tensors: {error}") from error
    if not isinstance(loaded, dict):
        raise CheckpointMismatch(f"{path} holds a {type(loaded).__name__}, expected a dict")
    return loaded


def _embeddings(path: Path) -> Tensor:
    """Read a table of embeddings: `embed_llama2.pt` is a dict with `weight`, `layer1.pth` the tensor."""
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    table = loaded["weight"] if isinstance(loaded, dict) else loaded
    if not isinstance(table, Tensor) or table.dim() != 2:
        raise CheckpointMismatch(f"{path} has no table of embeddings")
    return table


def _with_first_codebook(config: CodecConfig, state: dict[str, Tensor], first: FirstCodebook) -> CodecConfig:
    """Check the first codebook against the requested kind; return the configuration with its size."""
    name = "quantizer.quantizers.0.codebook.weight"
    if name not in state:
        raise CheckpointMismatch(f"the checkpoint has no {name}: pass the file of word embeddings")
    rows = state[name].shape[0]
    if first == "llama":
        sizes = (LLAMA_VOCABULARY_SIZE, *config.codebook_sizes[1:])
        config = replace(config, codebook_sizes=sizes)
    elif rows == LLAMA_VOCABULARY_SIZE != config.codebook_sizes[0]:
        raise CheckpointMismatch(
            f"the first codebook has {rows} rows, the paper's has {config.codebook_sizes[0]} words: this is "
            "the other published checkpoint, whose semantic layer indexes all LLAMA pieces. "
            "Its codes mean other words; use it with --first-codebook llama"
        )
    if rows != config.codebook_sizes[0]:
        raise CheckpointMismatch(
            f"the first codebook has {rows} rows, {config.codebook_sizes[0]} in the configuration"
        )
    return config
