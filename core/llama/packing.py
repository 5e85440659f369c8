"""Packing of many queries into one row after one prefix.

Each query with the label trie after it is a block that sees the prefix and itself: ids of the query see the
ids before them, and a node of the trie sees the query, its ancestors and itself. Positions continue from the
prefix in every block, so each query is read as if it were alone. A generated answer comes after all queries,
and sees only its own query.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.prompts.label_trie import LabelTrie

EMPTY_TRIE = LabelTrie((), (), ())
"""For queries whose answers are generated."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks of a row as a batch, each padded with its first id to the longest length.

    places (blocks, longest) int64: the id of the row at each place. own (S,) int64: indices of the flattened
    places that are not padding. mask (blocks, 1, longest, longest) bool: visibility inside a block.
    """

    places: Tensor
    own: Tensor
    mask: Tensor

    def cut(self, states: Tensor) -> Tensor:
        """Split (1, heads, S, D) into (blocks, heads, longest, D); a view if all blocks have equal length."""
        rows = states[0].transpose(0, 1)
        rows = rows if self._are_level else rows[self.places.flatten()]
        return rows.view(*self.places.shape, *rows.shape[1:]).transpose(1, 2)

    def join(self, states: Tensor) -> Tensor:
        """Join (blocks, heads, longest, ...) to (1, heads, S, ...)."""
        rows = states.transpose(1, 2).flatten(0, 1)
        rows = rows if self._are_level else rows[self.own]
        return rows.transpose(0, 1).unsqueeze(0)

    @property
    def _are_level(self) -> bool:
        return self.places.numel() == len(self.own)


@dataclass(frozen=True, slots=True)
class Pack:
    """One row of the model. Masks are True where a position is visible.

    token_ids and position_ids (1, S) int64; mask (1, 1, S, prefix + S) bool; states (queries, 1 + inner)
    int64, the places in the row of the root and the inner nodes of each query's trie. If the row consists
    only of blocks that see themselves and the prefix, `blocks` is equivalent to the mask.
    """

    token_ids: Tensor
    position_ids: Tensor
    mask: Tensor
    states: Tensor
    blocks: Blocks | None = None

    def to(self, device: torch.device) -> "Pack":
        """Return the same pack on a device; its blocks are for a CPU."""
        tensors = (self.token_ids, self.position_ids, self.mask, self.states)
        token_ids, position_ids, mask, states = (tensor.to(device) for tensor in tensors)
        return Pack(token_ids, position_ids, mask, states, self.blocks)


def pack_queries(queries: Sequence[Sequence[int]], trie: LabelTrie, prefix_length: int) -> Pack:
    """Pack the queries, each followed by the inner nodes of the trie, into one row."""
    inner = trie.token_ids[: trie.num_inner]
    depths = [len(path) - 1 for path in trie.ancestors[: trie.num_inner]]
    sees = _tree_mask(trie)
    token_ids: list[int] = []
    position_ids: list[int] = []
    ends: list[int] = []
    blocks: list[Tensor] = []
    for query in queries:
        ends.append(len(token_ids) + len(query))
        token_ids += [*query, *inner]
        position_ids += [*range(len(query)), *(len(query) + depth for depth in depths)]
        blocks.append(_block_mask(len(query), sees))
    return Pack(
        token_ids=torch.tensor([token_ids]),
        position_ids=torch.tensor([position_ids]) + prefix_length,
        mask=_row_mask(blocks, prefix_length),
        states=torch.tensor(ends)[:, None] + torch.arange(-1, len(inner)),
        blocks=_side_by_side(blocks),
    )


class GrowingRow:
    """Queries followed by their answers, since a row can only grow at its end.

    queries: the first pack. Each later one has the next id of each unfinished answer.
    """

    def __init__(self, queries: Sequence[Sequence[int]], prefix_length: int) -> None:
        self.queries = pack_queries(queries, EMPTY_TRIE, prefix_length)
        self._prefix_length = prefix_length
        self._lengths = torch.tensor([len(query) for query in queries])
        self._owners = torch.arange(len(queries)).repeat_interleave(self._lengths)

    def step(self, next_ids: Mapping[int, int]) -> Pack:
        """Return a pack of one id for each of some queries, by number of the query."""
        owners = torch.tensor(list(next_ids))
        self._owners = torch.cat([self._owners, owners])
        position_ids = self._lengths[owners] + self._prefix_length
        self._lengths[owners] += 1
        own = owners[:, None] == self._owners
        mask = torch.cat([own.new_ones(len(next_ids), self._prefix_length), own], dim=1)
        return Pack(
            token_ids=torch.tensor([list(next_ids.values())]),
            position_ids=position_ids[None],
            mask=mask[None, None],
            states=torch.arange(len(next_ids))[:, None],
        )


def split_packs(lengths: Sequence[int], budget: int) -> Iterator[slice]:
    """Yield slices of consecutive queries with at most `budget` ids; a longer query is alone.

    lengths: the ids of each query with everything read after it. There are as few slices as possible, of
    about equal length for short queries: a short slice would cost more per id.
    """
    fewest = max(1, sum(1 for _ in _filled(lengths, budget)))
    # with this room no run but the last has less than its share, whichever query did not fit
    even = math.ceil(sum(lengths) / fewest) + max(lengths, default=1) - 1
    return _filled(lengths, min(budget, even))


def _filled(lengths: Sequence[int], budget: int) -> Iterator[slice]:
    """Yield slices that are each as full as possible."""
    start, total = 0, 0
    for at, length in enumerate(lengths):
        if at > start and total + length > budget:
            yield slice(start, at)
            start, total = at, 0
        total += length
    if lengths:
        yield slice(start, len(lengths))


def _tree_mask(trie: LabelTrie) -> Tensor:
    """Return (inner, inner): the visibility between nodes."""
    sees = torch.zeros(trie.num_inner, trie.num_inner, dtype=torch.bool)
    for node, path in enumerate(trie.ancestors[: trie.num_inner]):
        sees[node, list(path)] = True
    return sees


def _block_mask(query_length: int, sees: Tensor) -> Tensor:
    """Return (query + inner, query + inner): the visibility between the ids of one query and its trie."""
    length = query_length + len(sees)
    mask = torch.ones(length, length, dtype=torch.bool).tril()
    mask[query_length:, query_length:] = sees
    return mask


def _side_by_side(blocks: Sequence[Tensor]) -> Blocks:
    """Return blocks by their masks."""
    lengths = torch.tensor([len(block) for block in blocks])
    steps = torch.arange(int(lengths.max()))
    mask = torch.zeros(len(blocks), 1, len(steps), len(steps), dtype=torch.bool)
    mask[..., 0] = True  # everything sees the first id, and what sees nothing would give no number
    for at, block in enumerate(blocks):
        mask[at, 0, : len(block), : len(block)] = block
    inside = steps < lengths[:, None]
    starts = lengths.cumsum(0) - lengths
    return Blocks(starts[:, None] + steps * inside, inside.flatten().nonzero()[:, 0], mask)


def _row_mask(blocks: Sequence[Tensor], prefix_length: int) -> Tensor:
    """Return (1, 1, S, prefix + S): every block sees the prefix and itself."""
    length = sum(map(len, blocks))
    mask = torch.zeros(1, 1, length, prefix_length + length, dtype=torch.bool)
    mask[..., :prefix_length] = True
    start = 0
    for block in blocks:
        end = start + len(block)
        mask[0, 0, start:end, prefix_length + start : prefix_length + end] = block
        start = end
    return mask
