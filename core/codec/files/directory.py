"""What a codec directory holds besides weights, read without torch."""

from pathlib import Path

import numpy as np

from core.codec.config import CodecConfig
from core.errors import CheckpointMismatch

CONFIG, WEIGHTS, WORDS, TOKENIZER = "config.json", "model.safetensors", "words.txt", "tokenizer.model"


def codec_files(directory: Path) -> list[Path]:
    """Return the files that the fingerprint is made of; raises CheckpointMismatch when one is missing."""
    for name in (CONFIG, WEIGHTS):
        if not (directory / name).is_file():
            raise CheckpointMismatch(
                f"{directory} has no {name}: a codec directory holds {CONFIG} and {WEIGHTS}"
            )
    words = directory / WORDS
    return [directory / CONFIG, directory / WEIGHTS, *([words] if words.is_file() else [])]


def directory_words(directory: Path) -> tuple[str, ...]:
    """Return the words of a codec directory, none where it has none; raises CheckpointMismatch."""
    path = directory / WORDS
    words = read_words(path) if path.is_file() else ()
    check_words(words, CodecConfig.from_json(directory / CONFIG))
    return words


def read_words(path: Path) -> tuple[str, ...]:
    """The word of each semantic code, from a text file (one a line) or the released `layer1.npy`."""
    if path.suffix == ".npy":
        return tuple(str(word) for word in np.load(path, allow_pickle=False))
    return tuple(path.read_text(encoding="utf-8").split("\n"))[:-1]


def check_words(words: tuple[str, ...], config: CodecConfig) -> None:
    """Raises CheckpointMismatch unless each semantic code has one word (a codec may come without words)."""
    size = config.codebook_sizes[0]
    if words and len(words) != size:
        raise CheckpointMismatch(f"{len(words)} words for a semantic codebook of {size} rows")
