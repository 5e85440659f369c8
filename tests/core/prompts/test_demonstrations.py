import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptError, UnknownLabel
from core.prompts.demonstrations import LabeledClip, check_demonstrated, label_set, select_demonstrations
from tests.core.made_clips import clip_of


def clip(label: str) -> LabeledClip:
    return LabeledClip(clip_of(np.zeros(length, np.int16) for length in (2, 4, 8)), label)


LIBRARY = [clip(label) for label in ("rain", "dog", "rain", "dog", "cat", "rain", "cat", "dog")]


def test_a_label_set_is_alphabetical_whatever_the_order_given() -> None:
    assert label_set(["rain", "dog bark", "dog"]) == ("dog", "dog bark", "rain")


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], "at least 2"),
        (["dog"], "at least 2"),
        (["dog", "rain", "dog"], "'dog' is given 2 times"),
        (["dog", ""], "is not a label"),
        (["dog", " rain"], "is not a label"),
        (["dog", "ra\nin"], "is not a label"),
        (["dog", "rain ### cat"], "is not a label"),
    ],
)
def test_label_sets_that_cannot_be_asked_are_refused(labels: list[str], message: str) -> None:
    with pytest.raises(PromptError, match=message):
        label_set(labels)


def test_demonstrations_and_labels_must_match_both_ways() -> None:
    check_demonstrated(("cat", "dog", "rain"), LIBRARY)
    with pytest.raises(UnknownLabel, match="'cat'"):
        check_demonstrated(("dog", "rain"), LIBRARY)
    with pytest.raises(PromptError, match="'bird'"):
        check_demonstrated(("bird", "cat", "dog", "rain"), LIBRARY)


def test_the_first_k_of_each_label_come_in_library_order() -> None:
    assert select_demonstrations(LIBRARY, ("dog", "rain"), 2) == LIBRARY[:4]
    assert select_demonstrations(LIBRARY, ("cat", "dog"), 1) == [LIBRARY[1], LIBRARY[4]]


@given(seed=st.integers(0, 2**63))
def test_a_seed_changes_the_order_alone_and_always_in_the_same_way(seed: int) -> None:
    shuffled = select_demonstrations(LIBRARY, ("cat", "dog", "rain"), 2, seed=seed)
    again = select_demonstrations(LIBRARY, ("cat", "dog", "rain"), 2, seed=seed)
    plain = select_demonstrations(LIBRARY, ("cat", "dog", "rain"), 2)
    assert shuffled == again
    assert sorted(map(id, shuffled)) == sorted(map(id, plain))


def test_seeds_give_different_orders() -> None:
    orders = {
        tuple(map(id, select_demonstrations(LIBRARY, ("dog", "rain"), 3, seed=seed))) for seed in range(20)
    }
    assert len(orders) > 10


@pytest.mark.parametrize("k_shot", [0, 3])
def test_a_label_with_fewer_demonstrations_than_asked_is_refused(k_shot: int) -> None:
    with pytest.raises(PromptError, match=f"{k_shot} are needed"):
        select_demonstrations(LIBRARY, ("cat", "dog"), k_shot)
