from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from core.in_context.choosing import Demonstration
from core.in_context.choosing.folding import MAX_FOLDS, folds
from tests.core.made_libraries import make_clip

CLIP = make_clip(0, 0)
GROUPED = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from([None, "1", "2", "3", "4"])), max_size=30
)


def library(rows: Sequence[tuple[str, str | None]]) -> list[Demonstration]:
    return [Demonstration(CLIP, label, group) for label, group in rows]


@settings(max_examples=40, deadline=None)
@given(rows=GROUPED)
def test_groups_stay_together_and_every_label_stays(rows: list[tuple[str, str | None]]) -> None:
    found = folds(library(rows))
    left = Counter(at for fold in found for at in fold)
    assert set(left.values()) <= {1}
    for fold in found:
        stay = [row for at, row in enumerate(rows) if at not in fold]
        assert {label for label, _ in stay} == {label for label, _ in rows}
        groups = {rows[at][1] for at in fold} - {None}
        assert not groups & {group for _, group in stay}


@given(shots=st.lists(st.integers(1, 8), min_size=2, max_size=5))
def test_one_of_each_label_is_left_out_at_a_time(shots: list[int]) -> None:
    rows = [("abcde"[number], None) for number, count in enumerate(shots) for _ in range(count)]
    found = folds(library(rows))
    assert len(found) == (max(shots) if max(shots) > 1 else 0)
    assert all(max(Counter(rows[at][0] for at in fold).values()) == 1 for fold in found)
    assert sum(map(len, found)) == sum(count for count in shots if count > 1)


def test_a_large_library_is_left_out_in_few_parts() -> None:
    rows = [(label, None) for label in "ab" for _ in range(100)]
    found = folds(library(rows))
    assert len(found) == MAX_FOLDS
    assert sorted(at for fold in found for at in fold) == list(range(200))


def test_a_label_of_one_group_is_never_left_out() -> None:
    one = library([("a", "1"), ("a", "1"), ("b", "2"), ("b", "3")])
    assert folds(one) == [(2,), (3,)]
    assert folds([replace(shown, group="1") for shown in one]) == []
