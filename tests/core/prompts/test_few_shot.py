from itertools import combinations, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CheckpointMismatch, PromptError, PromptTooLong, UnknownLabel
from core.prompts.demonstrations import LabeledClip
from core.prompts.few_shot import FewShotPrompt, FewShotSettings
from core.prompts.model_slots import ModelPrompt
from core.prompts.template import PromptTemplate, Query
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import cut_window
from tests.core.made_clips import clip_of

LABELS = ("rain", "dog", "dog bark")


def clip(num_blocks: int, seed: int = 0) -> ClipCodes:
    generator = np.random.default_rng(seed)
    layers = (
        generator.integers(0, size, count * num_blocks).astype(np.int16)
        for size, count in ((80, 2), (420, 4), (420, 8))
    )
    return clip_of(layers, generator.integers(-900, 0, 2 * num_blocks).astype(np.int16))


LIBRARY = [LabeledClip(clip(12, seed), label) for seed, label in enumerate(LABELS)]


def prompt(
    vocabulary: Vocabulary, labels: Any = LABELS, library: Any = None, **settings: Any
) -> FewShotPrompt:
    return FewShotPrompt(vocabulary, labels, library or LIBRARY, FewShotSettings(**settings))


def test_a_query_is_asked_in_its_loudest_windows(vocabulary: Vocabulary) -> None:
    template, codes = PromptTemplate(vocabulary), clip(20)
    codes.levels[:] = -600
    codes.levels[30:38], codes.levels[4:12] = -20, -40
    asked = prompt(vocabulary, window=8, max_windows=2).query_ids(codes)
    assert asked == [template.query_ids(Query(cut_window(codes, start, 8))) for start in (30, 4)]


def test_other_orders_show_other_windows(vocabulary: Vocabulary) -> None:
    template, codes = PromptTemplate(vocabulary), clip(20)
    codes.levels[:] = -600
    codes.levels[30:38], codes.levels[4:12] = -20, -40
    library = [LabeledClip(codes, "rain"), *LIBRARY[1:]]
    few_shot = prompt(vocabulary, library=library, window=8, orders=3)
    for order, start in zip(few_shot.orders, (30, 4, 30), strict=True):
        shown = template.query_ids(Query(cut_window(codes, start, 8)))
        assert any(order.prefix_ids[at : at + len(shown)] == shown for at in range(len(order.prefix_ids)))


def test_a_demonstration_shows_its_loudest_window(vocabulary: Vocabulary) -> None:
    codes = clip(12)
    codes.levels[:] = -800
    codes.levels[10:14] = -20
    shown = PromptTemplate(vocabulary).query_ids(Query(cut_window(codes, 10, 4)))
    ids = prompt(vocabulary, library=[LabeledClip(codes, "rain"), *LIBRARY[1:]], window=4).prefix_ids
    assert any(ids[at : at + len(shown)] == shown for at in range(len(ids)))


@given(blocks=st.integers(1, 30))
@pytest.mark.parametrize("layers", ["semantic", "semantic+acoustic"])
def test_no_prompt_is_longer_than_was_checked_before(
    vocabulary: Vocabulary, layers: str, blocks: int
) -> None:
    few_shot = prompt(vocabulary, layers=layers)
    label = max(len(path) for path in few_shot.trie.paths)
    for query in few_shot.query_ids(clip(blocks, seed=blocks)):
        assert len(few_shot.prefix_ids) + len(query) + label <= few_shot.longest
    few_shot.check_budget(few_shot.longest)
    with pytest.raises(PromptTooLong):
        few_shot.check_budget(few_shot.longest - 1)


def test_the_prompt_does_not_depend_on_the_order_of_the_labels(vocabulary: Vocabulary) -> None:
    base = prompt(vocabulary)
    other = prompt(vocabulary, labels=LABELS[::-1])
    assert base.labels == ("dog", "dog bark", "rain")
    assert (base.prompt_hash, base.trie) == (other.prompt_hash, other.trie)


@pytest.mark.parametrize(
    "change",
    [
        {"layers": "semantic+acoustic"},
        {"repeats": 1},
        {"instruction": False},
        {"window": 8},
        {"max_windows": 1},
        {"library": LIBRARY[::-1]},
        {"library": [*LIBRARY, LabeledClip(clip(3, 9), "dog")]},
    ],
)
def test_whatever_changes_the_question_changes_the_prompt_hash(
    vocabulary: Vocabulary, change: dict[str, Any]
) -> None:
    assert prompt(vocabulary, **change).prompt_hash != prompt(vocabulary).prompt_hash


def test_how_the_answer_is_read_does_not_change_the_prompt_hash(vocabulary: Vocabulary) -> None:
    service, paper = prompt(vocabulary), prompt(vocabulary, mode="paper")
    assert paper.prompt_hash == service.prompt_hash
    assert paper.trie.token_ids[-1] == vocabulary.tokenizer.eos_id
    assert service.trie.token_ids[-1] == PromptTemplate(vocabulary).following_id


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        (("dog",), PromptError),
        ((*LABELS, "dog"), PromptError),
        ((*LABELS, ""), PromptError),
        ((*LABELS, "bird"), PromptError),
        (LABELS[:2], UnknownLabel),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    vocabulary: Vocabulary, labels: tuple[str, ...], error: type[Exception]
) -> None:
    with pytest.raises(error):
        prompt(vocabulary, labels=labels)


@pytest.mark.parametrize(
    "wrong",
    [
        {"layers": "acoustic"},
        {"mode": "fast"},
        {"repeats": -1},
        {"window": 0},
        {"max_windows": 0},
        {"orders": 0},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=str(next(iter(wrong.values())))):
        FewShotSettings(**wrong)


def test_orders_show_the_same_demonstrations_one_after_another_in_other_orders(
    vocabulary: Vocabulary,
) -> None:
    orders = prompt(vocabulary, orders=4).orders
    assert orders[0] == prompt(vocabulary).orders[0]
    assert len({tuple(order.prefix_ids) for order in orders}) > 1
    assert all(sorted(order.prefix_ids) == sorted(orders[0].prefix_ids) for order in orders)
    assert {order.trie for order in orders} == {orders[0].trie}


def test_the_number_of_orders_is_part_of_the_prompt_hash(vocabulary: Vocabulary) -> None:
    hashes = {prompt(vocabulary, orders=orders).prompt_hash for orders in (1, 2, 3)}
    assert len(hashes) == 3


def slots(vocabulary: Vocabulary) -> list[str]:
    """Return words of one id each."""
    return [word for word in vocabulary.words if len(vocabulary.tokenizer.encode(word)) == 1][:5]


def test_slots_stand_for_labels_in_instruction_demonstrations_and_answer(vocabulary: Vocabulary) -> None:
    said = slots(vocabulary)
    few_shot = FewShotPrompt(vocabulary, LABELS, LIBRARY, FewShotSettings(), ModelPrompt(tuple(said)))
    by_label = dict(zip(sorted(LABELS), said, strict=False))
    library = [LabeledClip(one.codes, by_label[one.label]) for one in LIBRARY]
    plain = FewShotPrompt(vocabulary, list(by_label.values()), library, FewShotSettings())
    assert few_shot.prefix_ids == plain.prefix_ids
    assert few_shot.labels == few_shot.trie.labels == tuple(sorted(LABELS))
    inner = few_shot.trie.token_ids[: few_shot.trie.num_inner]
    assert list(inner) == [vocabulary.tokenizer.encode(by_label[label])[0] for label in sorted(LABELS)]


def test_with_slots_the_labels_may_be_any_text(vocabulary: Vocabulary) -> None:
    said, odd = slots(vocabulary), {"rain": "狗叫", "dog": "🐕", "dog bark": "x" * 200}
    library = [LabeledClip(one.codes, odd[one.label]) for one in LIBRARY]
    few_shot = FewShotPrompt(
        vocabulary, list(odd.values()), library, FewShotSettings(orders=3), ModelPrompt(tuple(said))
    )
    assert few_shot.labels == tuple(sorted(odd.values()))
    assert {len(order.trie.token_ids) for order in few_shot.orders} == {6}


def test_a_slot_of_several_ids_is_refused(vocabulary: Vocabulary) -> None:
    with pytest.raises(CheckpointMismatch, match="not one id"):
        FewShotPrompt(vocabulary, LABELS, LIBRARY, FewShotSettings(), ModelPrompt(("happy", "zzyzx", "sad")))


@pytest.mark.parametrize("options", [{}, {"repeats": 2}, {"orders": 3}, {"layers": "semantic+acoustic"}])
@pytest.mark.parametrize("shots", [1, 2])
def test_no_choice_of_so_many_shots_is_longer_than_the_longest_with_them(
    vocabulary: Vocabulary, shots: int, options: dict[str, Any]
) -> None:
    takes = [LabeledClip(clip(1 + seed % 5, seed), LABELS[seed % 3]) for seed in range(9)]
    bound = prompt(vocabulary, library=takes, **options).longest_with(shots)
    by_label = [combinations([one for one in takes if one.label == label], shots) for label in LABELS]
    lengths = [
        prompt(vocabulary, library=[one for group in choice for one in group], **options).longest
        for choice in product(*by_label)
    ]
    assert max(lengths) == bound
