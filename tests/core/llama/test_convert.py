from pathlib import Path
from typing import Any

import pytest
import torch

from core.errors import CheckpointMismatch
from core.llama.convert import convert_llm
from core.llama.files import model_fingerprint, read_tokenizer
from core.llama.model import FrozenLlama

# isort: split
from transformers import LlamaForCausalLM

gguf = pytest.importorskip("gguf")
pytest.importorskip("accelerate")

VOCABULARY, WIDTH, HEADS, KV_HEADS, LAYERS = 300, 64, 4, 2, 2
NORMS = ("attn_norm", "ffn_norm")
MATRICES = {
    "attn_q": (WIDTH, WIDTH),
    "attn_k": (WIDTH // HEADS * KV_HEADS, WIDTH),
    "attn_v": (WIDTH // HEADS * KV_HEADS, WIDTH),
    "attn_output": (WIDTH, WIDTH),
    "ffn_gate": (96, WIDTH),
    "ffn_up": (96, WIDTH),
    "ffn_down": (WIDTH, 96),
}


@pytest.fixture(scope="module")
def gguf_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write a quantized LLaMA of random weights, tied, with a byte-level tokenizer of 256 bytes and more."""
    path = tmp_path_factory.mktemp("gguf") / "tiny.gguf"
    write_gguf(path, "llama")
    return path


def write_gguf(path: Path, architecture: str) -> None:
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_license("apache-2.0")
    writer.add_block_count(LAYERS)
    writer.add_context_length(256)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(96)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(100_000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCABULARY)
    _add_tokenizer(writer)
    generator = torch.Generator().manual_seed(0)
    shapes = {f"blk.{at}.{name}.weight": shape for at in range(LAYERS) for name, shape in MATRICES.items()}
    for name, shape in {"token_embd.weight": (VOCABULARY, WIDTH), **shapes}.items():
        weights = (0.3 * torch.randn(shape, generator=generator)).numpy()
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(name, gguf.quantize(weights, kind), raw_dtype=kind)
    for name in ("output_norm", *(f"blk.{at}.{norm}" for at in range(LAYERS) for norm in NORMS)):
        writer.add_tensor(f"{name}.weight", torch.ones(WIDTH).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: Any) -> None:
    from tokenizers import pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = [f"Ġ {letter}" for letter in letters[:41]]
    tokens = ["<|endoftext|>", "<|begin|>", "<|end|>", *letters, *(pair.replace(" ", "") for pair in pairs)]
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (VOCABULARY - 3))
    writer.add_token_merges(pairs)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)


def test_a_gguf_becomes_a_directory_that_scores_as_transformers_reads_the_file(
    gguf_file: Path, tmp_path: Path
) -> None:
    converted = convert_llm(gguf_file, tmp_path / "out")
    assert converted.license == "apache-2.0"
    assert converted.fingerprint == model_fingerprint(tmp_path / "out", "float32")
    plain = LlamaForCausalLM.from_pretrained(gguf_file.parent, gguf_file=gguf_file.name).eval()
    llama = FrozenLlama.from_directory(tmp_path / "out")
    ids = torch.arange(1, 60)[None]
    with torch.inference_mode():
        assert torch.equal(llama._model.model.embed_tokens.weight, plain.model.embed_tokens.weight)
        torch.testing.assert_close(llama._model(ids).logits, plain(ids).logits, rtol=0, atol=1e-4)


def test_its_tokenizer_spells_and_has_the_control_ids_of_the_file(gguf_file: Path, tmp_path: Path) -> None:
    convert_llm(gguf_file, tmp_path / "out")
    tokenizer = read_tokenizer(tmp_path / "out", VOCABULARY)
    assert tokenizer is not None
    assert tokenizer.decode(tokenizer.encode("a dog, ça va")) == " a dog, ça va"
    assert (tokenizer.bos_id, tokenizer.eos_id) == (1, 2)


def test_what_is_no_gguf_of_a_llama_is_refused_and_nothing_is_written(
    gguf_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "text.gguf").write_text("not a model, but long enough for a header")
    with pytest.raises(CheckpointMismatch, match="not a GGUF file"):
        convert_llm(tmp_path / "text.gguf", tmp_path / "out")
    write_gguf(tmp_path / "other.gguf", "qwen2")
    with pytest.raises(CheckpointMismatch, match="'qwen2'"):
        convert_llm(tmp_path / "other.gguf", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "out").mkdir()
    with pytest.raises(CheckpointMismatch, match="already exists"):
        convert_llm(gguf_file, tmp_path / "out")
