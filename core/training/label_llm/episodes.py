"""Few-shot episodes for the mini LLaMA: clips of a few classes with slots as labels, one prompt each.

An episode continues the prompt of core.prompts.few_shot: every clip is first a query and then a
demonstration, so that all labels except the first of each class are learned in one pass.
"""

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from core.in_context.baselines import similarities
from core.prompts.template import Instruction, LabeledWindow, PromptTemplate
from core.tokens.clip_codes import ClipCodes
from core.tokens.window import WindowCodes, cut_window, loudest_window
from core.training.data.bank import TokenBank

MIN_WINDOW = 3


@dataclass(frozen=True, slots=True)
class EpisodeShape:
    """Number of classes and of clips per class; `window` semantic codes of a clip."""

    n_way: int
    clips_per_class: int
    window: int


@dataclass(frozen=True, slots=True)
class EpisodeBatch:
    """A batch of prompts, padded on the right with zeros.

    token_ids (B, T); begins and ends (B, N) of each clip's codes; outs (B, N) the positions before each
    label's id; classes and clips (B, N) numbers of the bank; slots (B, N) the id of each label; shown (B, N)
    whether the class appeared before. All int64 except shown (bool). `candidates` (B, W) the ids of the slots
    in use, `known` (S,) of all slots.
    """

    token_ids: Tensor
    begins: Tensor
    ends: Tensor
    outs: Tensor
    classes: Tensor
    clips: Tensor
    slots: Tensor
    shown: Tensor
    candidates: Tensor
    known: Tensor


class Episodes:
    """Random episodes from the classes of a bank. `shares` says how often an episode is of each kind."""

    def __init__(
        self,
        bank: TokenBank,
        template: PromptTemplate,
        slots: Sequence[str],
        shares: Mapping[str, float],
        *,
        smallest_class: int,
    ) -> None:
        self._bank = bank
        self._template = template
        self._slots = tuple(slots)
        self._shares = dict(shares)
        self._classes = bank.classes(smallest_class)
        numbers = [tuple(numbers) for kind in self._classes.values() for numbers in kind]
        self._class_number = {members: at for at, members in enumerate(numbers)}

    def batch(
        self, rng: random.Random, shape: EpisodeShape, count: int, *, noise: float = 0.0
    ) -> EpisodeBatch:
        """Draw `count` episodes of one shape; a share of `noise` of the codes is replaced."""
        return self._stack([self._draw(rng, shape, noise) for _ in range(count)])

    def scattered(
        self, rng: random.Random, shape: EpisodeShape, count: int, *, noise: float = 0.0
    ) -> EpisodeBatch:
        """Draw `count` prompts of n_way clips of as many classes; clips of a class are in different prompts.

        Only their sound tells which clips belong together: the prompts have nothing else in common.
        """
        per_class = shape.clips_per_class
        prompts: list[list[tuple[int, int]]] = [[] for _ in range(count)]
        for members in self._mixed_classes(rng, count * shape.n_way // per_class):
            emptiest = sorted(prompts, key=lambda clips: (len(clips), rng.random()))
            for clips, clip in zip(emptiest, rng.sample(members, per_class), strict=False):
                clips.append((self._class_number[tuple(members)], clip))
        return self._stack([self._mixed_prompt(rng, clips, shape.window, noise) for clips in prompts])

    def similarities(self, batch: EpisodeBatch) -> Tensor:
        """Return (B * N, B * N) float32: the similarity of the codes of the clips of a batch, from 0 to 1."""
        clips = [self._bank.clips[number] for number in batch.clips.flatten().tolist()]
        return torch.from_numpy(similarities(clips, clips)).float()

    def _mixed_prompt(
        self, rng: random.Random, clips: list[tuple[int, int]], window: int, noise: float
    ) -> "_Episode":
        """Return clips of any classes with any labels, shuffled: the position of a clip must not tell its
        class.
        """
        rng.shuffle(clips)
        episode = _Episode(self._template, self._template.instruction_ids(None), [0])
        for number, clip in clips:
            shot = self._demonstration(rng, self._bank.clips[clip], rng.choice(self._slots), window, noise)
            episode.add(shot, number, clip)
        return episode

    def _mixed_classes(self, rng: random.Random, count: int) -> list[list[int]]:
        """Draw classes of all kinds by their shares, as many as a kind has; sounds fill the rest."""
        chosen: list[list[int]] = []
        kinds = sorted(self._shares, key=lambda kind: len(self._classes.get(kind, ())))
        total = sum(self._shares.values())
        for kind in kinds[:-1]:
            known = self._classes.get(kind, [])
            chosen += rng.sample(known, min(len(known) // 2, round(count * self._shares[kind] / total)))
        chosen += rng.sample(self._classes[kinds[-1]], count - len(chosen))
        rng.shuffle(chosen)
        return chosen

    def tests(self, rng: random.Random, n_way: int, k_shot: int, window: int, count: int) -> EpisodeBatch:
        """Draw `count` episodes of k_shot demonstrations per class and one query, the last clip."""
        shape = EpisodeShape(n_way, k_shot, window)
        return self._stack([self._draw(rng, shape, 0.0, queries=1) for _ in range(count)])

    def _draw(self, rng: random.Random, shape: EpisodeShape, noise: float, queries: int = 0) -> "_Episode":
        fitting = {k: v for k, v in self._shares.items() if len(self._classes.get(k, ())) >= shape.n_way}
        kind = rng.choices(list(fitting), list(fitting.values()))[0]
        classes = rng.sample(self._classes[kind], shape.n_way)
        slots = rng.sample(self._slots, shape.n_way)
        drawn = [
            (self._class_number[tuple(members)], number, slot)
            for members, slot in zip(classes, slots, strict=True)
            for number in rng.sample(members, shape.clips_per_class + queries)
        ]
        last = [drawn.pop(rng.randrange(len(drawn))) for _ in range(queries)]
        drawn = _drop_extra(drawn, shape.clips_per_class)
        rng.shuffle(drawn)
        drawn += last
        instruction = Instruction(tuple(slots)) if rng.random() < 0.5 else None
        opening = self._template.instruction_ids(instruction)
        episode = _Episode(self._template, opening, [self._slot_id(s) for s in slots])
        for number, clip, slot in drawn:
            shot = self._demonstration(rng, self._bank.clips[clip], slot, shape.window, noise)
            episode.add(shot, number, clip)
        return episode

    def _demonstration(
        self, rng: random.Random, clip: ClipCodes, slot: str, width: int, noise: float
    ) -> LabeledWindow:
        """Cut a window: half are the loudest, as in demonstrations; half are random, as in queries."""
        if rng.random() < 0.2:
            width = rng.randint(min(MIN_WINDOW, width), width)
        last = max(0, len(clip.semantic) - width)
        start = loudest_window(clip.levels, width) if rng.random() < 0.5 else rng.randint(0, last)
        window = cut_window(clip, start, width)
        return LabeledWindow(self._noisy(rng, window, noise), slot)

    def _noisy(self, rng: random.Random, window: WindowCodes, noise: float) -> WindowCodes:
        """Replace a share of `noise` of the codes of each layer with those of other clips."""
        if not noise:
            return window
        layers = [layer.copy() for layer in window.layers]
        for number, layer in enumerate(layers):
            for at in range(len(layer)):
                if rng.random() < noise:
                    layer[at] = rng.choice(rng.choice(self._bank.clips).layers[number])
        return WindowCodes(tuple(layers))

    def _stack(self, episodes: Sequence["_Episode"]) -> EpisodeBatch:
        return _stack(episodes, torch.tensor([self._slot_id(slot) for slot in self._slots]))

    def _slot_id(self, slot: str) -> int:
        (token_id,) = self._template.label_ids(slot)
        return token_id


def _drop_extra(drawn: list[tuple[int, int, str]], clips_per_class: int) -> list[tuple[int, int, str]]:
    """Return the first clips of each class, at most `clips_per_class`."""
    counts: Counter[int] = Counter()
    kept = []
    for one in drawn:
        counts[one[0]] += 1
        if counts[one[0]] <= clips_per_class:
            kept.append(one)
    return kept


class _Episode:
    """A prompt that grows clip by clip."""

    def __init__(self, template: PromptTemplate, opening: list[int], slot_ids: list[int]) -> None:
        self._template = template
        self.token_ids = list(opening)
        self.slot_ids = slot_ids
        self.begins: list[int] = []
        self.ends: list[int] = []
        self.outs: list[int] = []
        self.classes: list[int] = []
        self.clips: list[int] = []
        self.shown: list[bool] = []

    def add(self, shot: LabeledWindow, number: int, clip: int) -> None:
        """Append a demonstration whose label is one id, the last."""
        self.begins.append(len(self.token_ids) + len(self._template.opening_ids))
        self.token_ids += self._template.demonstration_ids(shot)
        self.outs.append(len(self.token_ids) - 2)
        self.ends.append(len(self.token_ids) - 1 - len(self._template.closing_ids))
        self.shown.append(number in self.classes)
        self.classes.append(number)
        self.clips.append(clip)


def _stack(episodes: Sequence[_Episode], known: Tensor) -> EpisodeBatch:
    length = max(len(one.token_ids) for one in episodes)
    token_ids = torch.zeros(len(episodes), length, dtype=torch.int64)
    for row, one in zip(token_ids, episodes, strict=True):
        row[: len(one.token_ids)] = torch.tensor(one.token_ids)
    outs = torch.tensor([one.outs for one in episodes])
    return EpisodeBatch(
        token_ids=token_ids,
        begins=torch.tensor([one.begins for one in episodes]),
        ends=torch.tensor([one.ends for one in episodes]),
        outs=outs,
        classes=torch.tensor([one.classes for one in episodes]),
        clips=torch.tensor([one.clips for one in episodes]),
        slots=token_ids.gather(1, outs + 1),
        shown=torch.tensor([one.shown for one in episodes]),
        candidates=torch.tensor([one.slot_ids for one in episodes]),
        known=known,
    )
