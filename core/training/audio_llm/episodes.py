"""Prompts from which a small LLaMA learns generation: texts or noisy audio, each followed by its audio.

A prompt is in the format of core.prompts.generation, and every answer in it is learned, not only the last
one. In some of the text prompts demonstrations are repeated unchanged, as in the paper: that teaches the
model to look up the request in the prompt.
"""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.prompts.generation import INSTRUCTIONS, Example, GenerationTask, GenerationTemplate
from core.prompts.template import CLOSING, OPENING
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import WindowCodes, cut_window, loudest_window
from core.training.audio_llm.clips import DIGITS
from core.training.data.bank import TokenBank

SPOKEN_BLOCKS = 3
SOUND_BLOCKS = (3, 4, 4, 6)
NOISY_BLOCKS = 2
"""Fixed, so that the distance between noisy audio and its answer is fixed too, which attention learns
early.
"""
TASKS: dict[str, GenerationTask] = {
    "digit": "speech",
    "bare digit": "speech",
    "word": "speech",
    "sound": "sound",
    "noisy": "denoise",
}
"""The task of each kind of clip."""

REPEATED_SHARE = 0.7
"""Share of the text prompts with demonstrations repeated unchanged."""


@dataclass(frozen=True, slots=True)
class AnswerBatch:
    """A batch of prompts, padded on the right with zeros.

    token_ids (B, T) int64; answers (B, T) bool, the ids of answers. The others (B, T, T) bool, in the row
    before each id of an answer: texts, the columns of the requested text; sources, those of the same id in
    earlier answers to the same request; noisy, that of the same id in its own noisy audio.
    """

    token_ids: Tensor
    answers: Tensor
    texts: Tensor
    sources: Tensor
    noisy: Tensor


class AnswerEpisodes:
    """Random prompts from a bank of clips."""

    def __init__(self, bank: TokenBank, vocabulary: Vocabulary, labels: Sequence[str]) -> None:
        self._vocabulary = vocabulary
        self._templates = {task: GenerationTemplate(vocabulary, task) for task in INSTRUCTIONS}
        self._labels = tuple(labels)
        self._voices, self._pairs = _by_voice(bank), _pairs(bank)

    def batch(self, rng: random.Random, token_ids: int, shares: Mapping[str, float]) -> AnswerBatch:
        """Draw prompts of one kind (by `shares`), of about equal length and about `token_ids` ids in
        total.
        """
        kind = rng.choices(list(shares), list(shares.values()))[0]
        length = rng.choice((300, 500, 500, 900, 1400))
        return _stack([self.prompt(rng, kind, length) for _ in range(max(1, token_ids // length))])

    def prompt(self, rng: random.Random, kind: str, length: int) -> "_Prompt":
        """Draw a prompt of at least about `length` ids."""
        task, examples = TASKS[kind], self._examples(rng, kind)
        instruction = INSTRUCTIONS[task] if rng.random() < 0.5 else None
        prompt = _Prompt(self._vocabulary, self._templates[task], instruction)
        repeats, shown = kind != "noisy" and rng.random() < REPEATED_SHARE, list[Example]()
        while len(prompt.token_ids) < length:
            example = rng.choice(shown) if shown and repeats and rng.random() < 0.5 else next(examples)
            shown.append(example)
            prompt.add(example)
        return prompt

    def _examples(self, rng: random.Random, kind: str) -> Iterator[Example]:
        if kind == "noisy":
            return self._noisy(rng)
        return self._sounds(rng) if kind == "sound" else self._spoken(rng, kind)

    def _spoken(self, rng: random.Random, kind: str) -> Iterator[Example]:
        """Yield a few words of one voice, with digits as words or as numerals."""
        clips = rng.choice(self._voices[kind])
        texts = rng.sample(list(clips), rng.randint(2, len(clips)))
        numerals = rng.random() < 0.5
        while True:
            text = rng.choice(texts)
            clip = rng.choice(clips[text])
            spelled = str(DIGITS.index(text)) if numerals and text in DIGITS else text
            yield Example(spelled, _window(rng, clip, SPOKEN_BLOCKS))

    def _sounds(self, rng: random.Random) -> Iterator[Example]:
        """Yield takes of a few classes, each with a meaningless label."""
        classes = [
            next(iter(takes.values())) for takes in rng.sample(self._voices["sound"], rng.randint(2, 6))
        ]
        labels = [" ".join(rng.sample(self._labels, rng.choice((1, 1, 2)))) for _ in classes]
        blocks = rng.choice(SOUND_BLOCKS)
        while True:
            number = rng.randrange(len(classes))
            yield Example(labels[number], _window(rng, rng.choice(classes[number]), blocks))

    def _noisy(self, rng: random.Random) -> Iterator[Example]:
        """Yield the same part of a noisy clip and its clean one; a fifth of the prompts has one clean clip
        only.

        Some of the noisy clips are the clean one: audio without noise does not change.
        """
        pairs = [rng.choice(self._pairs)] if rng.random() < 0.2 else self._pairs
        while True:
            clean, noisy = rng.choice(pairs)
            start = _start(rng, clean, 2 * NOISY_BLOCKS)
            windows = (
                cut_window(clip, start, 2 * NOISY_BLOCKS) for clip in (rng.choice([clean, *noisy]), clean)
            )
            yield Example(*windows)


Voices = dict[str, list[dict[str, list[ClipCodes]]]]
"""By kind of clip, for each voice its clips by text; a class of sounds is a voice with one text."""


def _by_voice(bank: TokenBank) -> Voices:
    voices: dict[str, dict[str, dict[str, list[ClipCodes]]]] = defaultdict(
        lambda: defaultdict(lambda: defaultdict(list))
    )
    for clip, kind, name in zip(bank.clips, bank.kinds, bank.names, strict=True):
        voice, _, text = name.partition("\t")
        voices[kind][voice][text].append(clip)
    return {kind: [dict(texts) for texts in known.values()] for kind, known in voices.items()}


def _pairs(bank: TokenBank) -> list[tuple[ClipCodes, list[ClipCodes]]]:
    """Return each clean clip with its noisy ones."""
    clean = {name: clip for clip, kind, name in _rows(bank) if kind == "clean"}
    noisy = defaultdict(list)
    for clip, kind, name in _rows(bank):
        if kind == "noisy":
            noisy[name].append(clip)
    return [(clip, noisy[name]) for name, clip in clean.items()]


def _rows(bank: TokenBank) -> Iterator[tuple[ClipCodes, str, str]]:
    return zip(bank.clips, bank.kinds, bank.names, strict=True)


def _window(rng: random.Random, clip: ClipCodes, blocks: int) -> WindowCodes:
    """Cut at most `blocks` whole blocks; half of the time the loudest, as in demonstrations."""
    width = min(2 * blocks, len(clip.semantic))
    start = loudest_window(clip.levels, width) if rng.random() < 0.5 else _start(rng, clip, width)
    return cut_window(clip, start, width)


def _start(rng: random.Random, clip: ClipCodes, width: int) -> int:
    return rng.randint(0, max(0, len(clip.semantic) - width))


Place = tuple[int, int, int]
"""Place of an id in audio: its layer, the index of its code there, and the index of the id in the code."""


class _Prompt:
    """A prompt that grows example by example, with the places of its parts."""

    def __init__(self, vocabulary: Vocabulary, template: GenerationTemplate, instruction: str | None) -> None:
        self._vocabulary, self._template = vocabulary, template
        opening, before, closing = map(vocabulary.tokenizer.encode, (OPENING, "an audio of", CLOSING))
        self._opening, self._before, self._closing = len(opening), len(opening + before), len(closing)
        self.token_ids = template.prefix_ids(instruction, ())
        self.answers: list[int] = []
        self.texts: list[tuple[int, int]] = []
        self.sources: list[tuple[int, int]] = []
        self.noisy: list[tuple[int, int]] = []
        self._said: dict[str | int, list[dict[Place, int]]] = defaultdict(list)

    def add(self, example: Example) -> None:
        """Append an example."""
        begin, request_ids = len(self.token_ids), self._template.query_ids(example.request)
        self.token_ids += self._template.example_ids(example)
        places = self._places(example.answer, begin + len(request_ids))
        self.answers += places.values()
        before = [column - 1 for column in places.values()]
        if isinstance(example.request, str):
            key: str | int = example.request
            text = range(begin + self._before, begin + len(request_ids) - self._closing)
            self.texts += [(row, column) for row in before for column in text]
        else:
            key = id(example)
            noisy = self._places(example.request, begin + self._opening)
            self.noisy += [(row, noisy[at]) for at, row in zip(places, before, strict=True) if at in noisy]
        self.sources += [
            (row, earlier[place])
            for place, row in zip(places, before, strict=True)
            for earlier in self._said[key]
            if place in earlier
        ]
        self._said[key].append(places)

    def _places(self, window: WindowCodes, begin: int) -> dict[Place, int]:
        """Return the position of each id of a window that begins at `begin`."""
        places: dict[Place, int] = {}
        for layer, codes in enumerate(window.layers):
            for number, code in enumerate(codes.tolist()):
                for part in range(len(self._vocabulary.token_ids(layer, [code]))):
                    places[layer, number, part] = begin + len(places)
        return places


def _stack(prompts: Sequence[_Prompt]) -> AnswerBatch:
    count, length = len(prompts), max(len(prompt.token_ids) for prompt in prompts)
    batch = AnswerBatch(
        torch.zeros(count, length, dtype=torch.int64),
        torch.zeros(count, length, dtype=torch.bool),
        *(torch.zeros(count, length, length, dtype=torch.bool) for _ in range(3)),
    )
    for row, prompt in enumerate(prompts):
        batch.token_ids[row, : len(prompt.token_ids)] = torch.tensor(prompt.token_ids)
        batch.answers[row, prompt.answers] = True
        marks = ((batch.texts, prompt.texts), (batch.sources, prompt.sources), (batch.noisy, prompt.noisy))
        for marked, pairs in marks:
            if pairs:
                rows, columns = torch.tensor(pairs).T
                marked[row, rows, columns] = True
    return batch
