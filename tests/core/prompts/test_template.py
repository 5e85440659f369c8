import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptTooLong, UnknownLabel
from core.prompts.template import (
    Instruction,
    LabeledWindow,
    PromptTemplate,
    Query,
    check_budget,
    prompt_hash,
)
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.tokens.window import WindowCodes

LABELS = ("rain", "dog", "dog bark")


def window(semantic: list[int], acoustic: int = 0) -> WindowCodes:
    layers = (np.full(len(semantic) * ratio, acoustic, dtype=np.int16) for ratio in (2, 4))
    return WindowCodes((np.array(semantic, dtype=np.int16), *layers))


@pytest.fixture(scope="module")
def template(vocabulary: Vocabulary) -> PromptTemplate:
    return PromptTemplate(vocabulary)


@pytest.mark.data
@pytest.mark.parametrize("case", [0, 1, 2])
def test_prompts_are_those_of_the_released_evaluation(case: int, test_data: Path, golden: Path) -> None:
    expected: dict[str, Any] = json.loads((golden / "prompts.json").read_text())["cases"][case]
    words = (test_data / "vocab" / "words.txt").read_text().splitlines()
    tokenizer = TextTokenizer(test_data / "vocab" / "tokenizer.model")
    template = PromptTemplate(Vocabulary(words, tokenizer))
    instruction = Instruction(tuple(reversed(expected["classes"]))) if expected["induction"] else None
    shots = [LabeledWindow(window(d["semantic_codes"]), d["label"]) for d in expected["demonstrations"]]
    prefix = template.prefix_ids(instruction, shots)
    query = template.query_ids(Query(window(expected["query_semantic_codes"])))
    assert (instruction.text if instruction else "") == expected["instruction"]
    assert prefix + query == expected["prompt_token_ids"]
    labels = {label: [*template.label_ids(label), tokenizer.eos_id] for label in expected["classes"]}
    assert labels == expected["label_token_ids"]
    assert template.following_id == 835


def test_the_instruction_names_the_labels_in_alphabetical_order() -> None:
    assert Instruction(LABELS).text.endswith("output is one of ['dog' or 'dog bark' or 'rain']\n")


def test_without_an_instruction_a_prompt_begins_with_the_begin_id_alone(template: PromptTemplate) -> None:
    assert template.instruction_ids(None) == [1]
    assert template.instruction_ids(Instruction(LABELS))[0] == 1


@given(repeats=st.integers(0, 4))
def test_demonstrations_come_once_and_once_more_for_each_repeat(
    template: PromptTemplate, repeats: int
) -> None:
    shots = [LabeledWindow(window([3, 70]), "dog"), LabeledWindow(window([41]), "rain")]
    one_pass = [token_id for shot in shots for token_id in template.demonstration_ids(shot)]
    assert template.prefix_ids(None, shots, repeats) == [1, *one_pass * (repeats + 1)]


def test_a_demonstration_is_a_query_and_its_label(template: PromptTemplate) -> None:
    query = template.query_ids(Query(window([3, 70])))
    assert template.demonstration_ids(LabeledWindow(window([3, 70]), "dog bark")) == [
        *query,
        *template.label_ids("dog bark"),
    ]


def test_the_following_id_is_what_stands_behind_every_label_but_the_last(template: PromptTemplate) -> None:
    shots = [LabeledWindow(window([3, 70]), "dog"), LabeledWindow(window([41]), "rain")]
    first = template.prefix_ids(None, shots[:1])
    assert template.prefix_ids(None, shots)[len(first)] == template.following_id
    assert template.query_ids(Query(window([5])))[0] == template.following_id


def test_acoustic_layers_follow_the_semantic_one_layer_by_layer(vocabulary: Vocabulary) -> None:
    codes = window([3, 70], acoustic=17)
    semantic = PromptTemplate(vocabulary).query_ids(Query(codes))
    both = PromptTemplate(vocabulary, "semantic+acoustic").query_ids(Query(codes))
    words = vocabulary.token_ids(0, [3, 70])
    start = next(at for at in range(len(both)) if both[at : at + len(words)] == words) + len(words)
    assert both == semantic[:start] + [17] * (4 + 8) + semantic[start:]


@given(codes=st.lists(st.integers(0, 79), min_size=1, max_size=16))
@pytest.mark.parametrize("layers", ["semantic", "semantic+acoustic"])
def test_no_query_is_longer_than_the_longest(vocabulary: Vocabulary, layers: Any, codes: list[int]) -> None:
    template = PromptTemplate(vocabulary, layers)
    assert len(template.query_ids(Query(window(codes)))) <= template.longest_query(16)
    longest = template.query_ids(Query(window([79] * 16)))
    assert len(longest) == template.longest_query(16)


def test_a_label_that_the_tokenizer_cannot_spell_is_refused(template: PromptTemplate) -> None:
    with pytest.raises(UnknownLabel, match="cannot spell"):
        template.label_ids("")


def test_a_prompt_over_the_context_is_refused_with_both_numbers() -> None:
    check_budget(2048, 2048)
    with pytest.raises(PromptTooLong) as error:
        check_budget(2049, 2048)
    assert (error.value.needed, error.value.limit) == (2049, 2048)


def test_the_prompt_hash_changes_with_prefix_layers_and_windows_only() -> None:
    base = prompt_hash([1, 2, 3], "semantic", 16, 3)
    assert prompt_hash((1, 2, 3), "semantic", 16, 3) == base
    others = {
        prompt_hash([1, 3, 2], "semantic", 16, 3),
        prompt_hash([1, 2, 3], "semantic+acoustic", 16, 3),
        prompt_hash([1, 2, 3], "semantic", 12, 3),
        prompt_hash([1, 2, 3], "semantic", 16, 1),
    }
    assert len(others - {base}) == 4
    assert len(base) == 64
