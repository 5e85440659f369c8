"""A label built id by id: greedy decoding over the trie, which scoring is compared with."""

import torch
from torch import Tensor

from core.errors import PromptError
from core.prompts.label_trie import ROOT, LabelTrie


def children(trie: LabelTrie, node: int) -> dict[int, int]:
    """Return the nodes that may follow one, by their token ids, ascending."""
    nodes = [child for child, parent in enumerate(trie.parents) if parent == node]
    return {trie.token_ids[child]: child for child in sorted(nodes, key=trie.token_ids.__getitem__)}


class LabelAnswer:
    """The constraint of one label; it ends with the closing id."""

    def __init__(self, trie: LabelTrie) -> None:
        self.said: list[int] = []
        self.longest = max(map(len, trie.paths))
        self._trie = trie
        self._node = ROOT

    @property
    def allowed(self) -> Tensor:
        return torch.tensor([*children(self._trie, self._node)], dtype=torch.int64)

    def accept(self, token_id: int) -> None:
        if token_id not in children(self._trie, self._node):
            raise PromptError(f"{token_id} may not follow {self.said}")
        self._node = children(self._trie, self._node)[token_id]
        self.said.append(token_id)
