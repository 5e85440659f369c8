"""A LLaMA of random weights, what benchmarks ask it, and the operations that this takes at least."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from core.llama.files import DType
from core.llama.model import FrozenLlama, label_scores
from core.prompts.label_trie import LabelTrie

CONFIG = LlamaConfig(
    hidden_size=768,
    intermediate_size=2048,
    num_hidden_layers=10,
    num_attention_heads=12,
    vocab_size=32000,
    max_position_embeddings=2048,
)
"""About 106 million parameters."""
LABELS = {"a": (700,), "b": (701,), "c": (702, 703), "d": (702, 704), "e": (705,)}
CLOSING = 835
ALONE = 3
"""Prompts that are read alone, for packed answers to be held against."""


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
    """Return the model as the service asks it, without tokenizer and directory."""
    return FrozenLlama(model, None, Path(), dtype)


def random_ids(count: int, generator: torch.Generator) -> list[int]:
    """Ids of ordinary pieces."""
    return torch.randint(300, CONFIG.vocab_size, (count,), generator=generator).tolist()


def whole_prompt(llama: FrozenLlama, prefix: list[int], query: list[int], trie: LabelTrie) -> Tensor:
    """Score one clip by itself: everything but the last id is read again."""
    return llama.score(llama.prefill([*prefix, *query[:-1]]), [query[-1:]], trie)


def difference_from_alone(
    llama: FrozenLlama, prefix: list[int], queries: Sequence[list[int]], nodes: Tensor, trie: LabelTrie
) -> float:
    """Return how far probabilities of packed labels are from those of the first few prompts read alone."""
    alone = torch.cat([whole_prompt(llama, prefix, query, trie) for query in queries[:ALONE]])
    together = label_scores(nodes[:ALONE], trie)
    return float((together.softmax(dim=1) - alone.softmax(dim=1)).abs().max())


@torch.inference_mode()
def last_logits(model: LlamaForCausalLM, token_ids: Tensor) -> Tensor:
    """(B, S) ids to the logits (B, 1, vocab_size) of the last one: all that a plain prompt must compute."""
    logits: Tensor = model(token_ids, use_cache=False, logits_to_keep=1).logits
    return logits


def forward_operations(model: LlamaForCausalLM, tokens: float, seen: float, states: float) -> float:
    """Floating-point operations of a pass: products with every weight matrix, and attention.

    seen: pairs of an id and one that it sees, over all ids. states: how many ids get logits.
    """
    config = model.config
    weights = sum(p.numel() for p in model.model.layers.parameters() if p.dim() > 1)
    width = config.num_attention_heads * config.head_dim
    attention = 4 * width * config.num_hidden_layers * seen
    head = model.lm_head.weight.numel()
    return float(2 * (weights * tokens + head * states) + attention)


def prompt_operations(model: LlamaForCausalLM, tokens: int, states: int = 1) -> float:
    """Of a prompt that is read whole, each id seeing itself and what precedes it."""
    return forward_operations(model, tokens, tokens * (tokens + 1) / 2, states)


def packed_operations(model: LlamaForCausalLM, prefix: int, query: int, trie: LabelTrie) -> float:
    """Count what a query and the labels behind it need, but not what a row computes and masks.

    Of the last layer, where nobody reads on, most ids need their keys and values alone.
    """
    depths = [len(path) for path in trie.ancestors[: trie.num_inner]]
    tokens, states = query + len(depths), 1 + len(depths)
    seen = tokens * prefix + query * (query + 1) / 2 + sum(query + depth for depth in depths)
    every = forward_operations(model, tokens, seen, states)
    return every - _spared_operations(model, seen / tokens) * (tokens - states)


def _spared_operations(model: LlamaForCausalLM, seen: float) -> float:
    """Of an id that sees so many, what the last layer computes beside its keys and values."""
    layer, config = model.model.layers[-1], model.config
    weights = sum(
        weight.numel()
        for name, weight in layer.named_parameters()
        if weight.dim() > 1 and not name.endswith(("k_proj.weight", "v_proj.weight"))
    )
    return float(2 * weights + 4 * config.num_attention_heads * config.head_dim * seen)
