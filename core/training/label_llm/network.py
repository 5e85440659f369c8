"""The forward pass of a LlamaForCausalLM for training, with access to its attention.

The model is unchanged: attention positions, queries and keys only enter losses.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from core.llama.huggingface import LlamaConfig, LlamaForCausalLM, apply_rotary_pos_emb

INITIAL_NORM_SCALE = 2.0
"""Initial scale of the last norm: at 1, tied to embeddings of length 1, the logits would be too small."""


INITIAL_OUTPUT_SCALE = 0.1
"""Initial scale of the layers' outputs: embeddings have a deviation of 0.09, the outputs one of about 1."""


@dataclass(frozen=True, slots=True)
class Heads:
    """Queries, keys and values of one layer, (B, H, T, D) each, before rotation."""

    queries: Tensor
    keys: Tensor
    values: Tensor


def new_network(config: LlamaConfig, embeddings: Tensor, copying_layer: int, seed: int) -> LlamaForCausalLM:
    """Build a model with random weights of the configuration's deviation and frozen input embeddings.

    1 / sqrt(hidden_size) is a good deviation. Embeddings of length 1 give small logits, which the last norm
    scales up; the outputs of the layers are scaled down so that they do not drown the embeddings. Only
    `copying_layer` passes on the attended values unchanged: a label must arrive as that label.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = LlamaForCausalLM(config)
    network.model.embed_tokens.weight.data.copy_(embeddings)
    network.model.embed_tokens.weight.requires_grad_(False)
    network.model.norm.weight.data.fill_(INITIAL_NORM_SCALE)
    for layer in network.model.layers:
        layer.self_attn.o_proj.weight.data.mul_(INITIAL_OUTPUT_SCALE)
        layer.mlp.down_proj.weight.data.mul_(INITIAL_OUTPUT_SCALE)
    attention = network.model.layers[copying_layer].self_attn
    attention.v_proj.weight.data.copy_(torch.linalg.qr(attention.v_proj.weight.data.T)[0].T)
    attention.o_proj.weight.data.copy_(attention.v_proj.weight.data.T)
    return network


def heads_of(network: LlamaForCausalLM, layer: int, hidden: Tensor) -> Heads:
    """Return the queries, keys and values of a layer for its input states (B, T, C)."""
    block = network.model.layers[layer]
    normed = block.input_layernorm(hidden)
    attention = block.self_attn
    parts = (attention.q_proj, attention.k_proj, attention.v_proj)
    size = attention.head_dim
    return Heads(*(part(normed).unflatten(-1, (-1, size)).transpose(1, 2) for part in parts))


def rotate(network: LlamaForCausalLM, states: Tensor, positions: Tensor) -> Tensor:
    """Apply rotary positions (B, T) to states (B, H, T, D)."""
    cos, sin = network.model.rotary_emb(states, positions)
    rotated: Tensor = apply_rotary_pos_emb(states, states, cos, sin)[0]
    return rotated


def apply_layer(
    network: LlamaForCausalLM, layer: int, hidden: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a layer's output (B, T, C), and its rotated queries and keys (B, H, T, D)."""
    block = network.model.layers[layer]
    heads = heads_of(network, layer, hidden)
    queries, keys = (rotate(network, states, positions) for states in (heads.queries, heads.keys))
    seen = functional.scaled_dot_product_attention(queries, keys, heads.values, is_causal=True)
    hidden = hidden + block.self_attn.o_proj(seen.transpose(1, 2).flatten(2))
    return hidden + block.mlp(block.post_attention_layernorm(hidden)), queries, keys


def logits_at(network: LlamaForCausalLM, hidden: Tensor, rows: Tensor) -> Tensor:
    """Return (B, N, V) logits at the positions rows (B, N) of the last layer's output."""
    wanted = pick(hidden, rows)
    logits: Tensor = network.lm_head(network.model.norm(wanted))
    return logits


def pick(states: Tensor, rows: Tensor) -> Tensor:
    """Return the rows (B, N) of each batch entry of states (..., T, D), as (..., N, D)."""
    index = rows.view(rows.shape[0], *[1] * (states.dim() - 3), rows.shape[1], 1)
    return states.gather(-2, index.expand(*states.shape[:-2], rows.shape[1], states.shape[-1]))
