from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from core.llama.cpu.last_layer import LastLayer

# isort: split
from transformers import DynamicCache, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaDecoderLayer, LlamaRotaryEmbedding

IDS, PREFIX, WIDTH = 12, 5, 64


@pytest.fixture(scope="module")
def model(llama_path: Path) -> LlamaForCausalLM:
    return LlamaForCausalLM.from_pretrained(llama_path).eval().requires_grad_(False)


def cache_behind_a_prefix(layer: LlamaDecoderLayer) -> DynamicCache:
    """Return keys and values of a prefix, in every layer up to this one."""
    cache, attention = DynamicCache(), layer.self_attn
    heads = attention.config.num_key_value_heads
    states = torch.randn(2, 1, heads, PREFIX, attention.head_dim, generator=torch.Generator().manual_seed(3))
    for index in range(attention.layer_idx + 1):
        cache.update(*states, index)
    return cache


@settings(deadline=None)
@given(states=st.lists(st.integers(0, IDS - 1), min_size=1, max_size=2 * IDS))
def test_it_says_at_the_asked_ids_what_the_layer_says_there(
    model: LlamaForCausalLM, states: list[int]
) -> None:
    layer, rotary = model.model.layers[-1], LlamaRotaryEmbedding(model.config)
    hidden = torch.randn(1, IDS, WIDTH, generator=torch.Generator().manual_seed(1))
    turned = rotary(hidden, torch.arange(PREFIX, PREFIX + IDS)[None])
    seen = torch.ones(IDS, PREFIX + IDS, dtype=torch.bool).tril(PREFIX)
    mask = torch.zeros(1, 1, *seen.shape).masked_fill_(~seen, -torch.inf)
    whole, part = cache_behind_a_prefix(layer), cache_behind_a_prefix(layer)
    expected = layer(hidden, attention_mask=mask, position_embeddings=turned, past_key_values=whole)
    at = torch.tensor(states)
    said = LastLayer(layer)(
        hidden, position_embeddings=turned, past_key_values=part, states=at, states_mask=mask[:, :, at]
    )
    torch.testing.assert_close(said, expected[:, at], rtol=1e-5, atol=1e-4)
    for of_part, of_whole in zip(part.layers, whole.layers, strict=True):
        torch.testing.assert_close(of_part.keys, of_whole.keys)
        torch.testing.assert_close(of_part.values, of_whole.values)


@settings(deadline=None)
@given(states=st.lists(st.integers(0, IDS - 1), min_size=1, max_size=2 * IDS))
def test_it_says_the_same_behind_a_prefix_that_is_kept_apart(
    model: LlamaForCausalLM, states: list[int]
) -> None:
    layer, at = model.model.layers[-1], torch.tensor(states)
    hidden = torch.randn(1, IDS, WIDTH, generator=torch.Generator().manual_seed(1))
    turned = LlamaRotaryEmbedding(model.config)(hidden, torch.arange(PREFIX, PREFIX + IDS)[None])
    seen = torch.ones(len(states), PREFIX + IDS, dtype=torch.bool).tril(PREFIX)
    seen[:, :PREFIX] = True
    mask = torch.zeros(1, 1, *seen.shape).masked_fill_(~seen, -torch.inf)
    asked = {"position_embeddings": turned, "states": at}
    together = LastLayer(layer)(
        hidden, past_key_values=cache_behind_a_prefix(layer), states_mask=mask, **asked
    )
    apart = LastLayer(layer)(
        hidden, prefix=cache_behind_a_prefix(layer), states_mask=mask[..., PREFIX:], **asked
    )
    torch.testing.assert_close(apart, together, rtol=1e-5, atol=1e-4)
