"""Labelling behind a shared prompt: packed queries against one full forward per clip, in one run.

`python -m benchmarks.labelling` prints a table and a JSON line. The LLaMA has about 106 million random
parameters, the prompt 1,500 ids, a query 30, and there are five labels of one or two ids.
"""

import json
import time
from pathlib import Path

import torch
from torch import Tensor

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from core.constraint import LabelTrie, label_trie
from core.llama import FrozenLlama
from core.llama_directory import DType

CONFIG = LlamaConfig(
    hidden_size=768,
    intermediate_size=2048,
    num_hidden_layers=10,
    num_attention_heads=12,
    vocab_size=32000,
    max_position_embeddings=2048,
)
PREFIX, QUERY, QUERIES, FULL = 1500, 30, 64, 3
LABELS = {"a": (700,), "b": (701,), "c": (702, 703), "d": (702, 704), "e": (705,)}
CLOSING = 835


def random_model(
    generator: torch.Generator, config: LlamaConfig = CONFIG, dtype: DType = "float32"
) -> LlamaForCausalLM:
    """Weights that come from the generator, made where it is."""
    with torch.device(generator.device):
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype)).eval()
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0.0, 0.02, generator=generator)
    return model.requires_grad_(False)


def frozen(model: LlamaForCausalLM, dtype: DType = "float32") -> FrozenLlama:
    """The model as the service asks it, without tokenizer and directory."""
    return FrozenLlama(model, None, Path(), dtype)


def random_ids(count: int, generator: torch.Generator) -> list[int]:
    """Ids of ordinary pieces."""
    return torch.randint(300, CONFIG.vocab_size, (count,), generator=generator).tolist()


def whole_prompt(llama: FrozenLlama, prefix: list[int], query: list[int], trie: LabelTrie) -> Tensor:
    """One clip by itself: everything but the last id is read anew."""
    return llama.score(llama.prefill([*prefix, *query[:-1]]), [query[-1:]], trie)


def main() -> None:
    """Prints the table and the JSON line."""
    generator = torch.Generator().manual_seed(0)
    llama, trie = frozen(random_model(generator)), label_trie(LABELS, CLOSING)
    prefix = random_ids(PREFIX, generator)
    queries = [random_ids(QUERY, generator) for _ in range(QUERIES)]
    start = time.perf_counter()
    shared = llama.prefill(prefix)
    prefill = time.perf_counter() - start
    llama.score(shared, queries[:4], trie)
    start = time.perf_counter()
    packed = llama.score(shared, queries, trie)
    per_query = (time.perf_counter() - start) / QUERIES
    start = time.perf_counter()
    alone = [whole_prompt(llama, prefix, query, trie) for query in queries[:FULL]]
    per_full = (time.perf_counter() - start) / FULL
    figures = {
        "prefill_s": prefill,
        "packed_s_per_clip": per_query,
        "full_s_per_clip": per_full,
        "speedup": per_full / per_query,
        "speedup_with_prefill": per_full * QUERIES / (per_query * QUERIES + prefill),
        "largest_difference_log_p": float((packed[:FULL] - torch.cat(alone)).abs().max()),
        "threads": torch.get_num_threads(),
    }
    print("Labelling, 106 M parameters, prompt of 1,500 ids, queries of 30, five labels, CPU")
    for name, value in figures.items():
        print(f"  {name:<26}{value:>12.6f}")
    print(json.dumps({"benchmark": "labelling", **figures}))


if __name__ == "__main__":
    main()
