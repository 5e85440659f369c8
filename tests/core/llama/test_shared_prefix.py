import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from transformers import DynamicCache

from core.llama.shared_prefix import SharedPrefix

LAYERS, SHAPE = 2, (1, 2, 5, 4)


def states(ids: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return keys and values of `count` ids."""
    shape = (*SHAPE[:2], ids, SHAPE[3])
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def read(ids: int, cache: DynamicCache, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Return what each layer sees when ids are read."""
    generator = torch.Generator().manual_seed(seed)
    return [cache.update(*states(ids, generator), layer) for layer in range(LAYERS)]


def a_prefix() -> SharedPrefix:
    cache = DynamicCache()
    read(SHAPE[2], cache, seed=0)
    return SharedPrefix(tuple(range(SHAPE[2])), cache)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_what_is_seen_behind_a_prefix_is_what_transformers_caches_give(steps: list[int]) -> None:
    ours, theirs = a_prefix().copy_with_room(sum(steps)), a_prefix().kv_cache
    for seed, ids in enumerate(steps, start=1):
        for mine, expected in zip(read(ids, ours, seed), read(ids, theirs, seed), strict=True):
            assert torch.equal(mine[0], expected[0])
            assert torch.equal(mine[1], expected[1])


@given(st.lists(st.integers(1, 4), min_size=1, max_size=5))
def test_a_cache_for_what_lies_behind_a_prefix_gives_that_alone(steps: list[int]) -> None:
    ours, theirs = a_prefix().cache_with_room(sum(steps)), DynamicCache()
    for seed, ids in enumerate(steps, start=1):
        for mine, expected in zip(read(ids, ours, seed), read(ids, theirs, seed), strict=True):
            assert torch.equal(mine[0], expected[0])
            assert torch.equal(mine[1], expected[1])


def test_reading_on_copies_nothing_that_was_read_before() -> None:
    cache = a_prefix().copy_with_room(room=6)
    places = {
        (keys.data_ptr(), values.data_ptr())
        for seed in (1, 2, 3)
        for keys, values in read(2, cache, seed)[:1]
    }
    assert len(places) == 1


def test_a_rewound_cache_is_as_it_was_behind_the_prefix() -> None:
    prefix = a_prefix()
    cache, fresh = prefix.copy_with_room(room=4), prefix.copy_with_room(room=4)
    read(4, cache, seed=1)
    prefix.rewind(cache)
    assert cache.get_seq_length() == len(prefix.token_ids)
    for mine, expected in zip(read(3, cache, seed=2), read(3, fresh, seed=2), strict=True):
        assert torch.equal(mine[0], expected[0])
        assert torch.equal(mine[1], expected[1])
