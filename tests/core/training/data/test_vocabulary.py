import hashlib
from pathlib import Path

import numpy as np
import pytest
import sentencepiece

from core.presets import preset_directory
from core.training.data.corpus import read_word_list
from core.training.data.vocabulary import (
    SEED,
    SEMANTIC_CODES,
    embedding_table,
    semantic_words,
    write_vocabulary,
)


def hashes(folder: Path, names: list[str]) -> dict[str, str]:
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in names}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("vocabulary")
    write_vocabulary(folder)
    return folder


def test_making_the_vocabulary_again_gives_the_frozen_bytes(made: Path) -> None:
    names = sorted(str(path.relative_to(made)) for path in made.rglob("*") if path.is_file())
    assert len(names) == 4
    assert hashes(made, names) == hashes(preset_directory("mini-codec").parent, names)


def test_the_embedding_table_is_a_gaussian_of_about_unit_vectors() -> None:
    table = embedding_table(SEED)
    lengths = np.linalg.norm(table, axis=1)
    assert table.dtype == np.float32
    assert abs(lengths.mean() - 1) < 0.01
    assert 0.6 < lengths.min() < lengths.max() < 1.4
    unit = table / lengths[:, None]
    assert np.abs(unit @ unit.T - np.eye(len(table))).max() < 0.6


def test_words_used_as_labels_name_no_code(made: Path) -> None:
    words = read_word_list()
    chosen = set((made / "mini-codec/words.txt").read_text().splitlines())
    assert len(chosen) == SEMANTIC_CODES
    assert not chosen & {
        *words["label"],
        *words["sound"],
        *words["animal"],
        *words["feeling"],
        *words["number"],
    }


def test_a_list_with_too_few_words_says_how_many_are_missing(made: Path) -> None:
    tokenizer = sentencepiece.SentencePieceProcessor(model_file=str(made / "mini-codec/tokenizer.model"))
    few = {kind: listed[:2] for kind, listed in read_word_list().items()}
    with pytest.raises(ValueError, match="only 8 words of one or two ids: 512 are needed"):
        semantic_words(few, tokenizer)
