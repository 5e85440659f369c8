"""Attention of a packed row in two parts: to the prefix, which every id sees, and to the id's own block.

One attention to both, with a mask, would compare every id with all other blocks of its row in vain, and add
a mask to all scores of the prefix. Each part gives the sum of its weights too, so joining them is exact.
"""

import torch
from torch import Tensor, nn

import core.torchaudio_cpu  # noqa: F401  transformers imports torchaudio

# isort: split
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import repeat_kv, sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from core.packing import Blocks

SPLIT = "split"
"""The name under which transformers finds it."""


def split_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    blocks: Blocks | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """Of query (1, heads, S, D) to key and value (1, kv heads, prefix + S, D): (1, S, heads, D).

    attention_mask: added to the scores, (blocks, 1, longest, longest) inside blocks; without blocks the
    usual attention by the usual mask. On a CPU alone: other devices have other kernels.
    """
    if blocks is None:
        attended, _ = sdpa_attention_forward(module, query, key, value, attention_mask, **options)
        return attended, None
    groups = query.shape[1] // key.shape[1]
    key, value = repeat_kv(key, groups), repeat_kv(value, groups)
    prefix = key.shape[2] - query.shape[2]
    scale = options["scaling"]
    seen, seen_weight = _attend(query, key[:, :, :prefix], value[:, :, :prefix], None, scale)
    query, key, value = (blocks.cut(states) for states in (query, key[:, :, prefix:], value[:, :, prefix:]))
    own, own_weight = map(blocks.join, _attend(query, key, value, attention_mask, scale))
    share = torch.sigmoid(own_weight - seen_weight).unsqueeze(-1).to(own.dtype)
    return seen.lerp(own, share).transpose(1, 2).contiguous(), None


def _attend(
    query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: object
) -> tuple[Tensor, Tensor]:
    """The attended values (B, heads, S, D), and the logarithm (B, heads, S) of the sum of weights."""
    attended, weight = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
        query, key, value, attn_mask=mask, scale=scale
    )
    return attended, weight


AttentionInterface.register(SPLIT, split_attention)
AttentionMaskInterface.register(SPLIT, sdpa_mask)
