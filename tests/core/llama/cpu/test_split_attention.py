import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from core.llama.cpu.split_attention import split_attention
from core.llama.packing import Pack, pack_queries
from core.prompts.label_trie import label_trie

# isort: split
from transformers import DynamicCache

TRIE = label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5]}, closing_id=2)
HEAD_DIM = 8

of_some_length = st.one_of(
    st.lists(st.integers(1, 40), min_size=1, max_size=8),
    st.builds(lambda length, queries: [length] * queries, st.integers(1, 40), st.integers(1, 8)),
)


@settings(deadline=None)
@given(
    lengths=of_some_length,
    prefix=st.integers(1, 70),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    in_blocks=st.booleans(),
    largest=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_two_parts_give_what_one_attention_with_a_mask_gives(
    lengths: list[int], prefix: int, heads: tuple[int, int], in_blocks: bool, largest: float, seed: int
) -> None:
    pack = pack_queries([[9] * length for length in lengths], TRIE, prefix)
    generator = torch.Generator().manual_seed(seed)
    ids = pack.token_ids.shape[1]
    query = largest * torch.randn(1, heads[0], ids, HEAD_DIM, generator=generator)
    key, value = torch.randn(2, 1, heads[1], prefix + ids, HEAD_DIM, generator=generator)
    expected = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=pack.mask, scale=0.3, enable_gqa=True
    )
    said = in_two_parts(pack, prefix, query, key, value, in_blocks)
    torch.testing.assert_close(said, expected.transpose(1, 2), rtol=0, atol=2e-5)


class FirstLayer(nn.Module):
    """The module that the attention is told of."""

    layer_idx = 0


def in_two_parts(pack: Pack, prefix: int, query: Tensor, key: Tensor, value: Tensor, blocks: bool) -> Tensor:
    """Attend by the blocks of the pack, or by its whole mask."""
    assert pack.blocks
    module, kept = FirstLayer(), DynamicCache()
    kept.update(key[:, :, :prefix], value[:, :, :prefix], 0)
    seen = pack.blocks.mask if blocks else pack.mask[..., prefix:]
    mask = torch.zeros(seen.shape).masked_fill_(~seen, -torch.inf)
    cache_with_room = (key[:, :, prefix:], value[:, :, prefix:], mask)
    said, _ = split_attention(
        module, query, *cache_with_room, prefix=kept, blocks=pack.blocks if blocks else None, scaling=0.3
    )
    return said
