"""Models of the LLaMA family in shapes that are not LLaMA 2's, each against plain transformers."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from core.errors import CheckpointMismatch
from core.llama.files import model_files, model_fingerprint, read_tokenizer
from core.llama.model import FrozenLlama
from core.llama.weights import read_model
from core.prompts.label_trie import label_trie
from core.tokens.json_tokenizer import JsonTokenizer
from tests.core.llama.test_model import plain_scores

# isort: split
from transformers import LlamaConfig, LlamaForCausalLM

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500_000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
SHAPES: dict[str, dict[str, Any]] = {
    "tied": {"tie_word_embeddings": True},
    "grouped": {"num_attention_heads": 9, "num_key_value_heads": 3, "hidden_size": 72, "head_dim": 8},
    "wide heads": {"head_dim": 32, "num_key_value_heads": 1},
    "theta": {"rope_parameters": {"rope_type": "default", "rope_theta": 100_000.0}},
    "llama3": {"rope_parameters": LLAMA3},
    "linear": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10_000.0}},
    "biases": {"attention_bias": True, "mlp_bias": True},
    "large vocabulary": {"vocab_size": 50_000},
}
QUERIES = [[9, 10, 11], [12], [13, 14, 15, 16]]


def write(path: Path, **changes: Any) -> Path:
    shape = {
        "vocab_size": 420,
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "max_position_embeddings": 512,
        "initializer_range": 0.3,
    }
    with torch.random.fork_rng():
        torch.manual_seed(3)
        LlamaForCausalLM(LlamaConfig(**shape | changes)).save_pretrained(path)
    return path


@pytest.mark.parametrize("name", SHAPES)
def test_labels_behind_a_shared_prefix_are_scored_as_plain_transformers_scores_them(
    name: str, tmp_path: Path
) -> None:
    write(tmp_path, **SHAPES[name])
    prefix, trie = [1, *range(40, 110)], label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5, 6, 3]}, 2)
    llama, plain = FrozenLlama.from_directory(tmp_path), LlamaForCausalLM.from_pretrained(tmp_path).eval()
    scores = llama.score(llama.prefill(prefix), QUERIES, trie)
    torch.testing.assert_close(scores, plain_scores(plain, prefix, QUERIES, trie), rtol=0, atol=1e-4)


@pytest.mark.parametrize("kind", ["dynamic", "longrope"])
def test_positions_that_depend_on_the_prompt_are_refused(kind: str, tmp_path: Path) -> None:
    write(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    config["rope_parameters"]["rope_type"] = kind
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointMismatch, match=f"'{kind}'"):
        read_model(tmp_path, "float32")


@pytest.fixture
def with_json(tmp_path: Path) -> Path:
    """Write a model with a tokenizer.json alone."""
    write(tmp_path)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(["a dog"], trainers.BpeTrainer(vocab_size=300, initial_alphabet=alphabet))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def test_a_tokenizer_json_is_part_of_the_model(with_json: Path) -> None:
    assert isinstance(read_tokenizer(with_json, 420), JsonTokenizer)
    before = model_fingerprint(with_json, "float32")
    (with_json / "tokenizer.json").write_text((with_json / "tokenizer.json").read_text() + "\n")
    assert model_fingerprint(with_json, "float32") != before


def test_beside_a_tokenizer_model_a_tokenizer_json_changes_nothing(llama_path: Path, with_json: Path) -> None:
    (with_json / "tokenizer.model").write_bytes((llama_path / "tokenizer.model").read_bytes())
    assert [path.name for path in model_files(with_json)][-1] == "tokenizer.model"
    before = model_fingerprint(with_json, "float32")
    (with_json / "tokenizer.json").unlink()
    assert model_fingerprint(with_json, "float32") == before


def test_control_ids_are_those_of_the_configuration(with_json: Path) -> None:
    config = json.loads((with_json / "config.json").read_text())
    config |= {"bos_token_id": 5, "eos_token_id": [7, 9]}
    (with_json / "config.json").write_text(json.dumps(config))
    tokenizer = read_tokenizer(with_json, 420)
    assert tokenizer is not None
    assert (tokenizer.bos_id, tokenizer.eos_id) == (5, 7)


@pytest.mark.parametrize("wrong", [None, 4000])
def test_control_ids_that_a_prompt_cannot_have_are_refused(with_json: Path, wrong: int | None) -> None:
    config = json.loads((with_json / "config.json").read_text()) | {"bos_token_id": wrong}
    (with_json / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointMismatch, match=r"bos_token_id None|not among"):
        read_tokenizer(with_json, 420)
