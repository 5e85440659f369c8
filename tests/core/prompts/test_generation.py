from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import PromptError
from core.prompts.generation import (
    INSTRUCTIONS,
    Example,
    GenerationTemplate,
    check_text,
    generation_hash,
)
from core.prompts.limits import MAX_TEXT_CHARACTERS
from core.tokens.vocabulary import TextTokenizer, Vocabulary
from core.tokens.window import WindowCodes

CODES = WindowCodes(
    (np.array([0, 1], dtype=np.int16), np.arange(4, dtype=np.int16), np.arange(8, dtype=np.int16))
)
OTHER = WindowCodes(
    (np.array([2, 2], dtype=np.int16), np.full(4, 300, dtype=np.int16), np.full(8, 2, dtype=np.int16))
)

OPENING = [835, 13, 4290, 29901, 529, 29871]
CLOSING = [29871, 1405, 13, 6466, 29901, 29871]
"""The ids of the pieces in LLAMA 2's tokenizer, as the facts of the released evaluation list them."""


@pytest.fixture(scope="module")
def released(test_data: Path) -> Vocabulary:
    words = (test_data / "vocab" / "words.txt").read_text().splitlines()
    return Vocabulary(words, TextTokenizer(test_data / "vocab" / "tokenizer.model"))


@pytest.mark.data
def test_the_prompt_of_speech_is_the_one_that_the_paper_prints(released: Vocabulary) -> None:
    template = GenerationTemplate(released, "speech")
    words = released.token_ids(0, [0, 1])
    prefix = template.prefix_ids(INSTRUCTIONS["speech"], [Example("1", CODES)])
    instruction = (
        "▁Lear n ▁a ▁foreign ▁language ▁for ▁different ▁digits , ▁then ▁generate ▁the ▁corresponding "
        "▁number ▁using ▁foreign ▁language ▁based ▁on ▁instruction <0x0A>"
    )
    end = 1 + len(instruction.split())
    assert prefix[0] == 1
    assert [released.tokenizer.piece(token_id) for token_id in prefix[1:end]] == instruction.split()
    an_audio_of_1 = [385, 10348, 310, 29871, 29896]
    answer = [*words, 0, 1, 2, 3, 0, 1, 2, 3, 4, 5, 6, 7]
    assert prefix[end:] == [*OPENING, *an_audio_of_1, *CLOSING, *answer]
    assert template.query_ids("1+1") == [*OPENING, *an_audio_of_1, 29974, 29896, *CLOSING]


@pytest.mark.data
def test_the_prompt_of_denoising_shows_noisy_and_clean_audio_alike(released: Vocabulary) -> None:
    template = GenerationTemplate(released, "denoise")
    noisy, clean = released.flatten(CODES.layers), released.flatten(OTHER.layers)
    shown = [*OPENING, *noisy, *CLOSING, *clean]
    assert template.prefix_ids(None, [Example(CODES, OTHER)]) == [1, *shown]
    assert template.prefix_ids(None, [Example(CODES, OTHER)], repeats=3) == [1, *shown * 4]
    assert template.query_ids(OTHER) == [*OPENING, *clean, *CLOSING]


def test_a_query_is_asked_as_an_example_is_shown(vocabulary: Vocabulary) -> None:
    template = GenerationTemplate(vocabulary, "sound")
    shown = template.example_ids(Example("dog bark", CODES))
    assert shown == template.query_ids("dog bark") + vocabulary.flatten(CODES.layers)
    prefix = template.prefix_ids("Learn", [Example("dog bark", CODES), Example("rain", OTHER)])
    instruction = [1, *vocabulary.tokenizer.encode("Learn\n")]
    assert prefix == instruction + shown + template.example_ids(Example("rain", OTHER))


def test_every_task_has_an_instruction_that_stays_one_line() -> None:
    assert set(INSTRUCTIONS) == {"speech", "sound", "denoise"}
    assert not any("\n" in text for text in INSTRUCTIONS.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        (" \N{NO-BREAK SPACE}", "is empty"),
        ("\n", "is empty"),
        ("dog ### cat", "holds '###'"),
        ("dog\nOutput: ", "line break"),
        ("dog\x00", "control character"),
        ("dog\N{LINE SEPARATOR}cat", "line break"),
        ("x" * (MAX_TEXT_CHARACTERS + 1), "has 201 characters, at most 200"),
        ("x" * 10_000, "has 10000 characters, at most 200"),
    ],
)
def test_a_text_that_cannot_stand_in_a_prompt_is_refused(
    vocabulary: Vocabulary, text: str, message: str
) -> None:
    with pytest.raises(PromptError, match=message) as error:
        check_text(text)
    assert len(str(error.value)) < 250
    with pytest.raises(PromptError, match=message):
        GenerationTemplate(vocabulary, "speech").query_ids(text)


@given(text=st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=MAX_TEXT_CHARACTERS))
def test_any_printable_text_without_the_prompts_marks_stands_in_it(vocabulary: Vocabulary, text: str) -> None:
    if "###" in text:
        return
    ids = GenerationTemplate(vocabulary, "speech").query_ids(text)
    tokenizer = vocabulary.tokenizer
    assert not {tokenizer.bos_id, tokenizer.eos_id, tokenizer.unk_id} & set(ids)
    assert tokenizer.decode(ids).startswith("###\nInput: < ")
    assert f"an audio of {text}" in tokenizer.decode(ids)


def test_the_hash_of_a_prompt_turns_on_its_prefix_and_its_task() -> None:
    assert generation_hash([1, 2], "speech") == generation_hash((1, 2), "speech")
    others = [
        generation_hash([1], "speech"),
        generation_hash([2, 1], "speech"),
        generation_hash([1, 2], "sound"),
    ]
    assert len({generation_hash([1, 2], "speech"), *others}) == 4
