import json
from dataclasses import asdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import CheckpointMismatch, PromptError
from core.prompts.model_slots import ModelPrompt, label_words, read_model_prompt

SLOTS = ("two", "three", "four", "five")


def test_a_model_without_the_file_is_asked_with_the_labels_themselves(tmp_path: Path) -> None:
    assert read_model_prompt(tmp_path) == ModelPrompt((), "semantic", 16, 1)


def test_what_was_written_comes_back(tmp_path: Path) -> None:
    prompt = ModelPrompt(SLOTS, "semantic+acoustic", 6, 4)
    (tmp_path / "prompt.json").write_text(json.dumps(asdict(prompt)))
    assert read_model_prompt(tmp_path) == prompt


@pytest.mark.parametrize(
    "content",
    [
        {},
        [],
        {"slots": "two"},
        {"slots": ["two"]},
        {"slots": ["two", "two"]},
        {"slots": [1, 2]},
        {"slots": SLOTS, "layers": "acoustic"},
        {"slots": SLOTS, "window": 0},
        {"slots": SLOTS, "surprise": 1},
    ],
)
def test_a_file_that_does_not_say_how_to_ask_is_refused(tmp_path: Path, content: object) -> None:
    (tmp_path / "prompt.json").write_text(json.dumps(content))
    with pytest.raises(CheckpointMismatch, match=r"prompt\.json"):
        read_model_prompt(tmp_path)


def test_without_slots_labels_are_said_as_they_are() -> None:
    assert label_words(("cat", "dog"), (), 3) == {"cat": "cat", "dog": "dog"}


@given(labels=st.lists(st.text(min_size=1), min_size=2, max_size=4, unique=True), order=st.integers(0, 50))
def test_every_label_gets_a_slot_of_its_own_the_same_each_time(labels: list[str], order: int) -> None:
    said = label_words(labels, SLOTS, order)
    assert list(said) == labels
    assert len(set(said.values())) == len(labels)
    assert set(said.values()) <= set(SLOTS)
    assert said == label_words(labels, SLOTS, order)


def test_the_first_order_takes_the_slots_as_they_stand_and_others_do_not() -> None:
    assert list(label_words("ab", SLOTS, 0).values()) == ["two", "three"]
    assert len({tuple(label_words("abcd", SLOTS, order).values()) for order in range(10)}) > 5


def test_more_labels_than_slots_are_refused() -> None:
    with pytest.raises(PromptError, match="5 labels, this model can tell 4 apart"):
        label_words("abcde", SLOTS, 0)
