"""Attention after a prefix in two parts: to the prefix, which every id sees, and to the ids after it.

One attention to both would need them in one tensor, add a mask to all scores of the prefix, and compute the
masked scores between all blocks of a packed row. Each part also returns the sum of its weights, so joining
them is exact.
"""

import torch
from torch import Tensor, nn

from core.llama.huggingface import (
    AttentionInterface,
    AttentionMaskInterface,
    DynamicCache,
    repeat_kv,
    sdpa_attention_forward,
    sdpa_mask,
)
from core.llama.packing import Blocks

SPLIT = "split"
"""The name by which transformers finds it."""


def split_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    prefix: DynamicCache | None = None,
    blocks: Blocks | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """Attend from query (1, heads, S, D) to a prefix, and to key and value (1, kv heads, T, D) after it.

    Returns (1, S, heads, D). attention_mask: added to the scores of key, (1, 1, S, T); or, if S and T are the
    ids of blocks, (blocks, 1, longest, longest). Without a prefix it is the usual attention. With one it runs
    on a CPU only: other devices have other kernels.
    """
    if prefix is None:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return attended, None
    groups, kept, scale = query.shape[1] // key.shape[1], prefix.layers[module.layer_idx], options["scaling"]
    seen, seen_weight = _attend(query, kept.keys, kept.values, None, groups, scale)
    if blocks:
        query, key, value = map(blocks.cut, (query, key, value))
    own, own_weight = _attend(query, key, value, attention_mask, groups, scale)
    if blocks:
        own, own_weight = blocks.join(own), blocks.join(own_weight)
    share = torch.sigmoid(own_weight - seen_weight).unsqueeze(-1).to(own.dtype)
    return seen.lerp(own, share).transpose(1, 2).contiguous(), None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, groups: int, scale: object
) -> tuple[Tensor, Tensor]:
    """Return the attended values (B, heads, S, D) and the log-sum-exp (B, heads, S) of the scores."""
    attended, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, repeat_kv(key, groups), repeat_kv(value, groups), attn_mask=mask, scale=scale
    )
    return attended, weight


AttentionInterface.register(SPLIT, split_attention)
AttentionMaskInterface.register(SPLIT, sdpa_mask)
