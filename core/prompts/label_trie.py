"""The token ids that may come next in a label.

A trie over the ids of the labels: each label is a path closed by one more id, so that a label that is the
beginning of another one ("dog", "dog bark") is a choice of its own. Scoring closes labels with the first id
of the piece that follows them in the prompt, paper mode with the end id. The released mask allows any mixture
of the ids at each position; a trie allows only the labels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from core.errors import PromptError

ROOT = -1
"""The empty path: the parent of every label's first id."""


@dataclass(frozen=True)
class LabelTrie:
    """Labels as paths of nodes; each node is a token id after its parent.

    token_ids and parents: one per node, parents before children. The inner nodes of labels come first; the
    last ones, one for each label in order, are the closing ids.
    """

    labels: tuple[str, ...]
    token_ids: tuple[int, ...]
    parents: tuple[int, ...]

    @property
    def num_inner(self) -> int:
        """Number of nodes that are not closing ids."""
        return len(self.token_ids) - len(self.labels)

    @cached_property
    def ancestors(self) -> tuple[tuple[int, ...], ...]:
        """For each node the nodes from the root to it, including itself."""
        paths: dict[int, tuple[int, ...]] = {ROOT: ()}
        for node, parent in enumerate(self.parents):
            paths[node] = (*paths[parent], node)
        return tuple(paths[node] for node in range(len(self.parents)))

    @property
    def paths(self) -> tuple[tuple[int, ...], ...]:
        """For each label its nodes, the closing one last: log P(label) is the sum over them."""
        return self.ancestors[self.num_inner :]

    @cached_property
    def _children(self) -> dict[int, dict[int, int]]:
        """For each node its children by token id, in ascending order of the ids."""
        children: dict[int, dict[int, int]] = {node: {} for node in range(ROOT, len(self.parents))}
        for node in sorted(range(len(self.parents)), key=self.token_ids.__getitem__):
            children[self.parents[node]][self.token_ids[node]] = node
        return children

    def greedy(self, log_probabilities: Sequence[float]) -> int:
        """Return the index of the label found by greedy decoding, given each node's log probability.

        Of equally probable ids the smallest is taken, like an argmax over the whole vocabulary.
        """
        node = ROOT
        while children := self._children[node]:
            node = max(children.values(), key=log_probabilities.__getitem__)
        return node - self.num_inner


def label_trie(label_ids: Mapping[str, Sequence[int]], closing_id: int) -> LabelTrie:
    """Build the trie of labels with these token ids, each closed by `closing_id`.

    Raises PromptError for a label without ids, one that contains the closing id, and two with the same ids.
    """
    _check_labels(label_ids, closing_id)
    nodes = {prefix: node for node, prefix in enumerate(dict.fromkeys(_prefixes(label_ids)), start=ROOT)}
    inner = list(nodes)[1:]
    return LabelTrie(
        labels=tuple(label_ids),
        token_ids=(*(prefix[-1] for prefix in inner), *(closing_id for _ in label_ids)),
        parents=(
            *(nodes[prefix[:-1]] for prefix in inner),
            *(nodes[tuple(ids)] for ids in label_ids.values()),
        ),
    )


def _prefixes(label_ids: Mapping[str, Sequence[int]]) -> Iterator[tuple[int, ...]]:
    yield ()
    for ids in label_ids.values():
        for end in range(1, len(ids) + 1):
            yield tuple(ids[:end])


def _check_labels(label_ids: Mapping[str, Sequence[int]], closing_id: int) -> None:
    seen: dict[tuple[int, ...], str] = {}
    for label, ids in label_ids.items():
        if not ids or closing_id in ids:
            raise PromptError(
                f"the label {label!r} has the token ids {list(ids)}: it needs at least one, "
                f"and none may be {closing_id}, which closes a label; use another word"
            )
        other = seen.setdefault(tuple(ids), label)
        if other != label:
            raise PromptError(f"the labels {other!r} and {label!r} have the same token ids: drop one")
