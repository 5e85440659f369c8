"""How a clip is asked for its label: demonstrations, windows and labels as token ids. No model runs here."""

import hashlib
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from core.codes import ClipCodes
from core.constraint import LabelTrie, label_trie
from core.demonstrations import LabeledClip, check_demonstrated, label_set
from core.errors import CheckpointMismatch
from core.prompt import (
    Demonstration,
    Instruction,
    Layers,
    PromptTemplate,
    Query,
    check_budget,
    prompt_hash,
)
from core.slots import said_labels
from core.vocabulary import Vocabulary
from core.window import (
    DEFAULT_MAX_WINDOWS,
    DEFAULT_WINDOW,
    WindowCodes,
    cut_window,
    loudest_window,
    window_starts,
)

Mode = Literal["service", "paper"]


@dataclass(frozen=True, slots=True)
class FewShotSettings:
    """What of the codes is shown, how often, and how the answer is read.

    mode "service" answers with the most probable label, "paper" with the one that greedy decoding says.
    orders: how many prompts are asked, the demonstrations in another order in each; their log probabilities
    are averaged.
    """

    layers: Layers = "semantic"
    repeats: int = 0
    instruction: bool = True
    window: int = DEFAULT_WINDOW
    max_windows: int = DEFAULT_MAX_WINDOWS
    mode: Mode = "service"
    orders: int = 1

    def __post_init__(self) -> None:
        if self.layers not in ("semantic", "semantic+acoustic") or self.mode not in ("service", "paper"):
            raise ValueError(
                f"layers {self.layers!r} must be 'semantic' or 'semantic+acoustic', "
                f"mode {self.mode!r} 'service' or 'paper'"
            )
        if self.repeats < 0 or min(self.window, self.max_windows, self.orders) < 1:
            raise ValueError(
                f"repeats {self.repeats} must be at least 0, window {self.window}, "
                f"max_windows {self.max_windows} and orders {self.orders} at least 1"
            )


@dataclass(frozen=True, slots=True)
class PromptOrder:
    """One prompt of a run: the prefix that its queries share and the trie of what it says for the labels."""

    prefix_ids: list[int]
    trie: LabelTrie


class FewShotPrompt:
    """The prompts of a run, one for each order, and the windows in which a clip is asked.

    labels are in alphabetical order. Where the model has slots (core.slots), the prompts say them in place of
    the labels. Order 0 shows the demonstrations as they are given, the others shuffle them by the number of
    the order. Raises PromptError or UnknownLabel when labels and demonstrations do not fit together or cannot
    be said.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        demonstrations: Sequence[LabeledClip],
        settings: FewShotSettings,
        slots: Sequence[str] = (),
    ) -> None:
        self.labels = label_set(labels)
        check_demonstrated(self.labels, demonstrations)
        self.settings = settings
        self._template = PromptTemplate(vocabulary, settings.layers)
        self._check_slots(slots)
        paper = settings.mode == "paper"
        self._closing_id = vocabulary.tokenizer.eos_id if paper else self._template.following_id
        shots = [Demonstration(self._loudest(clip.codes), clip.label) for clip in demonstrations]
        self.orders = tuple(
            self._order(shots, said_labels(self.labels, slots, order), order)
            for order in range(settings.orders)
        )

    @property
    def prefix_ids(self) -> list[int]:
        """The prefix of the first order."""
        return self.orders[0].prefix_ids

    @property
    def trie(self) -> LabelTrie:
        """The trie of the first order; those of the others have the same nodes."""
        return self.orders[0].trie

    @property
    def prompt_hash(self) -> str:
        """Hex sha256 of the prefixes, the windows and the template; the query is not in it."""
        settings = self.settings
        hashes = [
            prompt_hash(order.prefix_ids, settings.layers, settings.window, settings.max_windows)
            for order in self.orders
        ]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    @property
    def longest(self) -> int:
        """The most token ids that prefix, query and label can take together."""
        query = self._template.longest_query(self.settings.window)
        prefix = max(len(order.prefix_ids) for order in self.orders)
        return prefix + query + max(map(len, self.trie.paths))

    def check_budget(self, context_length: int) -> None:
        """Raise PromptTooLong unless every query fits, so that a run never fails at its last clip."""
        check_budget(self.longest, context_length)

    def query_ids(self, clip: ClipCodes) -> list[list[int]]:
        """The token ids of each window of a clip."""
        settings = self.settings
        starts = window_starts(len(clip.semantic), settings.window, settings.max_windows)
        windows = (cut_window(clip, start, settings.window) for start in starts)
        return [self._template.query_ids(Query(window)) for window in windows]

    def _order(self, shots: Sequence[Demonstration], said: Mapping[str, str], order: int) -> PromptOrder:
        shown = [Demonstration(shot.window, said[shot.label]) for shot in shots]
        if order:
            random.Random(order).shuffle(shown)
        instruction = Instruction(tuple(said.values())) if self.settings.instruction else None
        label_ids = {label: self._template.label_ids(word) for label, word in said.items()}
        return PromptOrder(
            self._template.prefix_ids(instruction, shown, self.settings.repeats),
            label_trie(label_ids, self._closing_id),
        )

    def _check_slots(self, slots: Sequence[str]) -> None:
        for slot in slots:
            if len(self._template.label_ids(slot)) != 1:
                raise CheckpointMismatch(
                    f"the slot {slot!r} is not one id of the tokenizer: model and tokenizer do not fit"
                )

    def _loudest(self, clip: ClipCodes) -> WindowCodes:
        return cut_window(clip, loudest_window(clip.levels, self.settings.window), self.settings.window)
