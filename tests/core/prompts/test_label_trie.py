import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptError
from core.prompts.label_trie import ROOT, LabelTrie, label_trie
from tests.core.label_answer import children

CLOSING = 2
DOGS = {"dog": [7], "dog bark": [7, 8, 9], "dog barks": [7, 8], "rain": [5], "mouse": [7, 3]}

label_sets = st.lists(
    st.lists(st.integers(3, 6), min_size=1, max_size=4).map(tuple), min_size=1, max_size=12, unique=True
).map(lambda sets: {f"label {at}": list(ids) for at, ids in enumerate(sets)})


def walk(trie: LabelTrie, node: int = ROOT, said: tuple[int, ...] = ()) -> set[tuple[int, ...]]:
    """Yield every complete answer."""
    following = children(trie, node)
    ends = [walk(trie, child, (*said, token_id)) for token_id, child in following.items()]
    return set().union(*ends) if ends else {said}


@given(label_ids=label_sets)
def test_what_can_be_said_is_the_labels_and_nothing_else(label_ids: dict[str, list[int]]) -> None:
    trie = label_trie(label_ids, CLOSING)
    assert walk(trie) == {(*ids, CLOSING) for ids in label_ids.values()}


@given(label_ids=label_sets)
def test_the_path_of_a_label_spells_it(label_ids: dict[str, list[int]]) -> None:
    trie = label_trie(label_ids, CLOSING)
    spelled = [[trie.token_ids[node] for node in path] for path in trie.paths]
    assert spelled == [[*ids, CLOSING] for ids in label_ids.values()]
    for path in trie.paths:
        assert [trie.parents[node] for node in path] == [ROOT, *path[:-1]]


@given(label_ids=label_sets)
def test_shared_beginnings_are_one_node_and_parents_come_first(label_ids: dict[str, list[int]]) -> None:
    trie = label_trie(label_ids, CLOSING)
    assert trie.num_inner == len({tuple(ids[:end]) for ids in label_ids.values() for end in range(1, 5)})
    assert all(parent < node for node, parent in enumerate(trie.parents))


@given(label_ids=label_sets, data=st.data())
def test_greedy_follows_the_best_allowed_id_to_a_label(
    label_ids: dict[str, list[int]], data: st.DataObject
) -> None:
    trie = label_trie(label_ids, CLOSING)
    count = len(trie.token_ids)
    scores = data.draw(st.lists(st.integers(-9, 0), min_size=count, max_size=count))
    node = ROOT
    while following := children(trie, node):
        node = max(following.values(), key=scores.__getitem__)
    assert trie.greedy(scores) == node - trie.num_inner


def test_a_label_that_begins_another_can_end_or_go_on() -> None:
    trie = label_trie(DOGS, CLOSING)
    dog = children(trie, ROOT)[7]
    bark = children(trie, dog)[8]
    assert list(children(trie, ROOT)) == [5, 7]
    assert list(children(trie, dog)) == [CLOSING, 3, 8]
    assert list(children(trie, bark)) == [CLOSING, 9]


def test_probabilities_of_labels_under_a_language_add_up_to_one() -> None:
    trie = label_trie(DOGS, CLOSING)
    siblings = [trie.parents.count(parent) for parent in trie.parents]
    total = sum(math.prod(1 / siblings[node] for node in path) for path in trie.paths)
    assert total == pytest.approx(1)


@pytest.mark.parametrize(
    ("label_ids", "message"),
    [
        ({"dog": [7], "": []}, "at least one"),
        ({"dog": [7, CLOSING, 8]}, "closes a label"),
        ({"dog": [7, 8], "hound": [7, 8]}, "same token ids"),
    ],
)
def test_labels_that_cannot_be_told_apart_are_refused(label_ids: dict[str, list[int]], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        label_trie(label_ids, CLOSING)
