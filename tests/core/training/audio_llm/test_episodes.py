"""Prompts of training are those of core.prompts.generation, and say where their answers can be found."""

import random

import numpy as np
import pytest

from core.prompts.generation import INSTRUCTIONS, Example, GenerationTemplate
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import cut_window
from core.training.audio_llm.episodes import TASKS, AnswerEpisodes, _Prompt
from core.training.data.bank import TokenBank
from tests.core.made_clips import clip_of


def clip(seed: int, blocks: int = 3) -> ClipCodes:
    generator = np.random.default_rng(seed)
    layers = (generator.integers(0, 80, count * blocks).astype(np.int16) for count in (2, 4, 8))
    return clip_of(layers, generator.integers(-900, 0, 2 * blocks).astype(np.int16))


def bank() -> TokenBank:
    rows = [("digit", f"speaker\t{text}") for text in ("one", "two", "three")] * 2
    rows += [("sound", f"class {number}") for number in range(6)] * 2
    rows += [("clean", "0"), ("noisy", "0"), ("noisy", "0"), ("clean", "1"), ("noisy", "1")]
    clips = tuple(clip(seed, 3 if kind == "digit" else 8) for seed, (kind, _) in enumerate(rows))
    return TokenBank(clips, tuple(kind for kind, _ in rows), tuple(name for _, name in rows))


def episodes(vocabulary: Vocabulary) -> AnswerEpisodes:
    labels = [word for word in vocabulary.words if word.isalpha()][:20]
    return AnswerEpisodes(bank(), vocabulary, labels)


@pytest.mark.parametrize("kind", ["digit", "sound", "noisy"])
def test_a_prompt_is_what_generation_writes(vocabulary: Vocabulary, kind: str) -> None:
    template = GenerationTemplate(vocabulary, TASKS[kind])
    rng = random.Random(3)
    examples = episodes(vocabulary)._examples(rng, kind)
    drawn = [next(examples) for _ in range(4)]
    prompt = _Prompt(vocabulary, template, INSTRUCTIONS[TASKS[kind]])
    for example in drawn:
        prompt.add(example)
    assert prompt.token_ids == template.prefix_ids(INSTRUCTIONS[TASKS[kind]], drawn)
    said = [prompt.token_ids[at] for at in prompt.answers]
    assert said == [one for example in drawn for one in vocabulary.flatten(example.answer.layers)]


def test_a_repeated_answer_is_found_id_by_id_where_it_stood(vocabulary: Vocabulary) -> None:
    prompt = _Prompt(vocabulary, GenerationTemplate(vocabulary, "speech"), None)
    first, other = (Example(text, cut_window(clip(seed), 0, 6)) for seed, text in enumerate(("one", "two")))
    for example in (first, other, first):
        prompt.add(example)
    length = len(vocabulary.flatten(first.answer.layers))
    assert len(prompt.sources) == length
    for before, column in prompt.sources:
        assert column < before
        assert prompt.token_ids[before + 1] == prompt.token_ids[column]


def test_noisy_audio_is_a_source_at_the_same_place(vocabulary: Vocabulary) -> None:
    prompt = _Prompt(vocabulary, GenerationTemplate(vocabulary, "denoise"), None)
    window = cut_window(clip(1), 0, 4)
    prompt.add(Example(window, window))
    assert len(prompt.noisy) == len(vocabulary.flatten(window.layers))
    assert all(prompt.token_ids[row + 1] == prompt.token_ids[column] for row, column in prompt.noisy)


def test_the_text_that_is_asked_is_marked_and_nothing_of_the_template(vocabulary: Vocabulary) -> None:
    prompt = _Prompt(vocabulary, GenerationTemplate(vocabulary, "speech"), None)
    prompt.add(Example("seven", cut_window(clip(1), 0, 4)))
    marked = sorted({column for _, column in prompt.texts})
    whole = vocabulary.tokenizer.encode("an audio of seven")
    shared = len(vocabulary.tokenizer.encode("an audio of"))
    assert [prompt.token_ids[column] for column in marked] == whole[shared:]


@pytest.mark.parametrize("kind", ["digit", "sound", "noisy"])
def test_a_batch_follows_from_the_seed(vocabulary: Vocabulary, kind: str) -> None:
    drawn = episodes(vocabulary)
    one, same, other = (drawn.batch(random.Random(seed), 900, {kind: 1.0}) for seed in (1, 1, 2))
    assert one.token_ids.equal(same.token_ids)
    assert one.sources.equal(same.sources)
    assert not one.token_ids.equal(other.token_ids)
    before = one.answers[:, 1:]
    assert not one.sources.any(-1)[:, :-1][~before].any(), "only ids of answers have a source"
