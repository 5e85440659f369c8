"""The files of a codec directory, read without torch."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from core.codec.config import CodecConfig
from core.codec.rvq.config import RvqConfig
from core.errors import CheckpointMismatch

CONFIG, WEIGHTS, WORDS, TOKENIZER = "config.json", "model.safetensors", "words.txt", "tokenizer.model"

Shape = CodecConfig | RvqConfig
"""Sample rate, codebook sizes, blocks and codes per block of a codec."""


def codec_files(directory: Path) -> list[Path]:
    """Return the files that enter the fingerprint. Raises CheckpointMismatch when one is missing."""
    for name in (CONFIG, WEIGHTS):
        if not (directory / name).is_file():
            raise CheckpointMismatch(
                f"{directory} has no {name}: a codec directory holds {CONFIG} and {WEIGHTS}"
            )
    words = directory / WORDS
    return [directory / CONFIG, directory / WEIGHTS, *([words] if words.is_file() else [])]


def read_shape(directory: Path) -> Shape:
    """Read the shape of a codec's directory, without its weights. Raises CheckpointMismatch."""
    path = directory / CONFIG
    values: dict[str, Any] = json.loads(path.read_text())
    if "family" not in values:
        return CodecConfig.from_json(path)
    known = RvqConfig.__dataclass_fields__
    if set(values) != set(known):
        raise CheckpointMismatch(f"{path} has the fields {sorted(values)}, expected are {sorted(known)}")
    return RvqConfig(**values | {"codebook_sizes": tuple(values["codebook_sizes"])})


def directory_words(directory: Path) -> tuple[str, ...]:
    """Return the words of a codec directory, empty if it has none. Raises CheckpointMismatch."""
    path = directory / WORDS
    words = read_words(path) if path.is_file() else ()
    check_words(words, read_shape(directory))
    return words


def read_words(path: Path) -> tuple[str, ...]:
    """Read the word of each semantic code from a text file (one per line) or the released `layer1.npy`."""
    if path.suffix == ".npy":
        return tuple(str(word) for word in np.load(path, allow_pickle=False))
    return tuple(path.read_text(encoding="utf-8").split("\n"))[:-1]


def check_words(words: tuple[str, ...], config: Shape) -> None:
    """Raise CheckpointMismatch unless there are no words, or one for each semantic code."""
    size = config.codebook_sizes[0]
    if words and len(words) != size:
        raise CheckpointMismatch(f"{len(words)} words for a semantic codebook of {size} rows")
