import torch
from hypothesis import given
from hypothesis import strategies as st

from core.llama.packing import EMPTY_TRIE, GrowingRow, pack_queries, split_packs
from core.prompts.label_trie import label_trie

TRIE = label_trie({"dog": [7], "dog bark": [7, 8], "rain": [5]}, closing_id=2)

queries_of_ids = st.lists(st.lists(st.integers(3, 9), min_size=1, max_size=12), max_size=20)


@given(queries=queries_of_ids, budget=st.integers(1, 40))
def test_packs_hold_all_queries_in_order_and_keep_to_the_budget(
    queries: list[list[int]], budget: int
) -> None:
    packs = [queries[pack] for pack in split_packs([len(query) for query in queries], budget)]
    assert [query for pack in packs for query in pack] == queries
    for pack in packs:
        assert len(pack) == 1 or sum(map(len, pack)) <= budget


@given(queries=st.integers(1, 60), length=st.integers(1, 12), fit=st.integers(1, 20))
def test_queries_of_one_length_are_shared_out_evenly_over_as_few_packs_as_can_be(
    queries: int, length: int, fit: int
) -> None:
    packs = list(split_packs([length] * queries, fit * length))
    assert len(packs) == -(-queries // fit)
    assert max(pack.stop - pack.start for pack in packs) == -(-queries // len(packs))


def test_a_query_is_followed_by_the_trie_at_the_positions_it_would_have_alone() -> None:
    pack = pack_queries([[10, 11], [12]], TRIE, prefix_length=100)
    assert pack.token_ids.tolist() == [[10, 11, 7, 8, 5, 12, 7, 8, 5]]
    assert pack.position_ids.tolist() == [[100, 101, 102, 103, 102, 100, 101, 102, 101]]
    assert pack.states.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]


def test_an_id_sees_the_prefix_what_precedes_it_in_its_query_and_its_ancestors() -> None:
    mask = pack_queries([[10, 11], [12]], TRIE, prefix_length=3).mask
    assert mask.shape == (1, 1, 9, 12)
    assert mask[..., :3].all()
    first = torch.tensor(
        [  # 10 11 dog bark rain
            [1, 0, 0, 0, 0],
            [1, 1, 0, 0, 0],
            [1, 1, 1, 0, 0],
            [1, 1, 1, 1, 0],
            [1, 1, 0, 0, 1],
        ]
    ).bool()
    assert torch.equal(mask[0, 0, :5, 3:8], first)
    assert torch.equal(mask[0, 0, 5:, 8:], first[1:, 1:])
    assert not mask[0, 0, :5, 8:].any()
    assert not mask[0, 0, 5:, 3:8].any()


def test_what_is_said_sees_the_prefix_its_own_query_and_what_was_said_to_it() -> None:
    row = GrowingRow([[10, 11], [12]], prefix_length=3)
    row.step({0: 20, 1: 21})
    pack = row.step({1: 23})
    assert pack.token_ids.tolist() == [[23]]
    assert pack.position_ids.tolist() == [[5]]
    assert pack.states.tolist() == [[0]]
    assert pack.mask.int().tolist() == [[[[1, 1, 1, 0, 0, 1, 0, 1, 1]]]]  # prefix, 10 11 12, 20 21, 23


@given(queries=queries_of_ids.filter(len))
def test_blocks_side_by_side_are_the_row_and_see_what_it_sees(queries: list[list[int]]) -> None:
    pack = pack_queries(queries, TRIE, prefix_length=3)
    assert pack.blocks
    states = torch.stack([pack.token_ids, pack.position_ids], dim=-1)[:, None]  # (1, heads, S, 2)
    assert torch.equal(pack.blocks.join(pack.blocks.cut(states)), states)
    row = torch.zeros_like(pack.mask[0, 0, :, 3:])
    for places, mask in zip(pack.blocks.places, pack.blocks.mask[:, 0], strict=True):
        length = len(places.unique())
        row[places[0] : places[0] + length, places[0] : places[0] + length] = mask[:length, :length]
        assert mask.any(dim=1).all()
        assert not mask[:length, length:].any()
    assert torch.equal(row, pack.mask[0, 0, :, 3:])


@given(queries=queries_of_ids.filter(len), data=st.data())
def test_a_row_that_grows_is_the_row_that_would_be_read_at_once(
    queries: list[list[int]], data: st.DataObject
) -> None:
    row = GrowingRow(queries, prefix_length=4)
    columns = [(at, position) for at, query in enumerate(queries) for position in range(len(query))]
    numbers = st.sampled_from(range(len(queries)))
    for said in data.draw(st.lists(st.lists(numbers, min_size=1, unique=True), max_size=6)):
        pack = row.step(dict.fromkeys(said, 5))
        lengths = {at: sum(owner == at for owner, _ in columns) for at in said}
        columns += lengths.items()
        assert pack.position_ids.tolist() == [[4 + length for length in lengths.values()]]
        seen = [[owner == at for owner, _ in columns] for at in said]
        assert pack.mask[0, 0, :, 4:].tolist() == seen
        assert pack.mask[..., :4].all()


def test_without_labels_a_query_ends_where_its_answer_begins() -> None:
    pack = pack_queries([[10, 11], [12]], EMPTY_TRIE, prefix_length=3)
    assert pack.token_ids.tolist() == [[10, 11, 12]]
    assert pack.states.tolist() == [[1], [2]]
