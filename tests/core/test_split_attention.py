import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from core.constraint import label_trie
from core.packing import pack_queries
from core.split_attention import split_attention

TRIE = label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5]}, closing_id=2)
HEAD_DIM = 8


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8),
    prefix=st.integers(1, 70),
    heads=st.sampled_from([(1, 1), (4, 4), (4, 2), (6, 1)]),
    largest=st.sampled_from([1.0, 30.0]),
    seed=st.integers(0, 2**31),
)
def test_two_parts_give_what_one_attention_with_a_mask_gives(
    lengths: list[int], prefix: int, heads: tuple[int, int], largest: float, seed: int
) -> None:
    pack = pack_queries([[9] * length for length in lengths], TRIE, prefix)
    assert pack.blocks
    generator = torch.Generator().manual_seed(seed)
    ids = pack.token_ids.shape[1]
    query = largest * torch.randn(1, heads[0], ids, HEAD_DIM, generator=generator)
    key, value = torch.randn(2, 1, heads[1], prefix + ids, HEAD_DIM, generator=generator)
    mask = torch.zeros(pack.blocks.mask.shape).masked_fill_(~pack.blocks.mask, -torch.inf)
    said, _ = split_attention(nn.Module(), query, key, value, mask, blocks=pack.blocks, scaling=0.3)
    expected = functional.scaled_dot_product_attention(
        query, key, value, attn_mask=pack.mask, scale=0.3, enable_gqa=True
    )
    torch.testing.assert_close(said, expected.transpose(1, 2), rtol=0, atol=2e-5)
