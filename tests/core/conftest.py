"""A small tokenizer, word list and LLAMA, made on the spot, for the tests of the language model's half."""

import io
import shutil
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sentencepiece

from core.tokens.vocabulary import TextTokenizer, Vocabulary

if TYPE_CHECKING:
    from core.llama.model import FrozenLlama

LETTERS = "abcdefghijklmnopqrstuvwxyz"
SENTENCES = (
    "For each of the following input output pairs, output is one of ['dog' or 'dog bark' or 'rain']",
    "###\nInput: < above across after again >\nOutput: happy",
    "###\nInput: < angry anger animal answer >\nOutput: sad",
    "the dog barks in the rain, the cat and the bird are happy; the sheep is sad and angry",
    " ".join(LETTERS) + "".join(LETTERS),
)


@pytest.fixture(scope="session")
def tokenizer_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a SentencePiece model like LLaMA 2's (BPE, byte fallback, unnormalized text) of 420 pieces."""
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        model_type="bpe",
        vocab_size=420,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        num_threads=1,
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.model"
    path.write_bytes(model.getvalue())
    return path


@pytest.fixture(scope="session")
def tokenizer(tokenizer_path: Path) -> TextTokenizer:
    return TextTokenizer(tokenizer_path)


@pytest.fixture(scope="session")
def vocabulary(tokenizer: TextTokenizer) -> Vocabulary:
    """Return 40 words of one id and 40 of two, some of which begin other words."""
    pieces = [tokenizer.piece(token_id) for token_id in range(259, len(tokenizer))]
    begins = [piece.removeprefix("▁") for piece in pieces if piece.startswith("▁") and piece[1:].isalpha()]
    ends = [piece for piece in pieces if piece.isalpha() and piece.isascii()]
    two = (a + b for a, b in product(begins, ends) if _pieces(tokenizer, a + b) == [f"▁{a}", b])
    one = [word for word in begins if len(tokenizer.encode(word)) == 1]
    return Vocabulary([*one[:40], *(word for word, _ in zip(two, range(40), strict=False))], tokenizer)


def _pieces(tokenizer: TextTokenizer, text: str) -> list[str]:
    return [tokenizer.piece(token_id) for token_id in tokenizer.encode(text)]


def write_llama(path: Path, tokenizer_path: Path, initializer_range: float) -> Path:
    """Write a random LLaMA with grouped keys and values, and its tokenizer."""
    # imported here, so that tests without a language model need not wait for transformers
    import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

    # isort: split
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=420,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=initializer_range,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        LlamaForCausalLM(config).save_pretrained(path)
    shutil.copy(tokenizer_path, path / "tokenizer.model")
    return path


@pytest.fixture(scope="session")
def llama_path(tmp_path_factory: pytest.TempPathFactory, tokenizer_path: Path) -> Path:
    """Write a LLaMA with larger weights than a fresh one, so that its answers differ clearly."""
    return write_llama(tmp_path_factory.mktemp("llama"), tokenizer_path, 0.3)


@pytest.fixture(scope="session")
def llama(llama_path: Path) -> "FrozenLlama":
    from core.llama.model import FrozenLlama

    return FrozenLlama.from_directory(llama_path)
