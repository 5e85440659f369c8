"""Attention behind a prefix in two parts: to the prefix, which every id sees, and to what is read behind it.

One attention to both would want them in one tensor, add a mask to all scores of the prefix, and compare every
id of a packed row with all other blocks in vain. Each part gives the sum of its weights too, so joining them
is exact.
"""

import torch
from torch import Tensor, nn

import core.audio.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from core.llama.packing import Blocks

SPLIT = "split"
"""The name under which transformers finds it."""


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
    """Of query (1, heads, S, D) to a prefix, and to key and value (1, kv heads, T, D) behind it.

    Returns (1, S, heads, D). attention_mask: added to the scores of key, (1, 1, S, T); or, where S and T are
    the ids of blocks, (blocks, 1, longest, longest). Without a prefix it is the usual attention; with one it
    is for a CPU alone: other devices have other kernels.
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
    """The attended values (B, heads, S, D), and the logarithm (B, heads, S) of the sum of weights."""
    attended, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, repeat_kv(key, groups), repeat_kv(value, groups), attn_mask=mask, scale=scale
    )
    return attended, weight


AttentionInterface.register(SPLIT, split_attention)
AttentionMaskInterface.register(SPLIT, sdpa_mask)
