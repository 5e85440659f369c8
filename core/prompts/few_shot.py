"""Few-shot labeling prompts as token ids: demonstrations, windows and labels. No model runs here."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from core.errors import CheckpointMismatch
from core.prompts.demonstrations import LabeledClip, check_demonstrated, label_set
from core.prompts.label_trie import LabelTrie, label_trie
from core.prompts.model_slots import ModelPrompt, label_words
from core.prompts.template import (
    Instruction,
    LabeledWindow,
    Layers,
    PromptTemplate,
    Query,
    check_budget,
    prompt_hash,
)
from core.tokens.clip_codes import ClipCodes
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import DEFAULT_MAX_WINDOWS, WindowCodes, cut_window, loudest_windows

Mode = Literal["service", "paper"]


@dataclass(frozen=True, slots=True)
class FewShotSettings:
    """Settings of the prompt and of how the answer is read.

    mode "service" answers with the most probable label, "paper" with greedy decoding. orders: the number of
    prompts, each with the demonstrations in another order and in other windows; their log probabilities are
    averaged. layers, window and orders default to the model's own prompt (None).
    """

    layers: Layers | None = None
    repeats: int = 0
    instruction: bool = True
    window: int | None = None
    max_windows: int = DEFAULT_MAX_WINDOWS
    mode: Mode = "service"
    orders: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in ("service", "paper"):
            raise ValueError(f"mode {self.mode!r} must be 'service' or 'paper'")
        if self.repeats < 0 or self.max_windows < 1:
            raise ValueError(
                f"repeats {self.repeats} must be at least 0, max_windows {self.max_windows} at least 1"
            )
        self.resolve(ModelPrompt())

    def resolve(self, model: ModelPrompt) -> ModelPrompt:
        """Return the prompt of a model: as it was trained, with the overrides set here. Raises ValueError."""
        return ModelPrompt(
            slots=model.slots,
            layers=model.layers if self.layers is None else self.layers,
            window=model.window if self.window is None else self.window,
            orders=model.orders if self.orders is None else self.orders,
        )


@dataclass(frozen=True, slots=True)
class PromptOrder:
    """One prompt of a run: the prefix shared by its queries, and the trie of its label words.

    sizes: by label the token ids of each of its demonstrations, largest first.
    """

    prefix_ids: list[int]
    trie: LabelTrie
    sizes: dict[str, list[int]]

    def surplus_ids(self, shots: int) -> int:
        """Return the token ids of all demonstrations except the `shots` longest of each label."""
        return sum(sum(sizes[shots:]) for sizes in self.sizes.values())


class FewShotPrompt:
    """The prompts of a run, one for each order, and the windows of a queried clip.

    labels are in alphabetical order. If the model has slots, the prompts use them instead of the labels.
    Order 0 shows the demonstrations as given, each in its loudest window; order n shuffles them by n and
    shows the next loudest windows in turn. A query has up to `max_windows` windows, the loudest ones. Raises
    PromptError or UnknownLabel when labels and demonstrations do not fit together or cannot be tokenized.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        demonstrations: Sequence[LabeledClip],
        settings: FewShotSettings,
        model: ModelPrompt | None = None,
    ) -> None:
        self.labels = label_set(labels)
        check_demonstrated(self.labels, demonstrations)
        self.settings = settings
        self.model_prompt = settings.resolve(model or ModelPrompt())
        self._template = PromptTemplate(vocabulary, self.model_prompt.layers)
        self._check_slots(self.model_prompt.slots)
        paper = settings.mode == "paper"
        self._closing_id = vocabulary.tokenizer.eos_id if paper else self._template.following_id
        self.orders = tuple(self._order(demonstrations, order) for order in range(self.model_prompt.orders))

    @property
    def prefix_ids(self) -> list[int]:
        """Prefix of the first order."""
        return self.orders[0].prefix_ids

    @property
    def trie(self) -> LabelTrie:
        """Trie of the first order; those of the others have the same nodes."""
        return self.orders[0].trie

    @cached_property
    def prompt_hash(self) -> str:
        """Hex sha256 of the prefixes, the windows and the template, without the query."""
        shots, count = self.model_prompt, self.settings.max_windows
        hashes = [prompt_hash(order.prefix_ids, shots.layers, shots.window, count) for order in self.orders]
        return hashes[0] if len(hashes) == 1 else hashlib.sha256("\n".join(hashes).encode()).hexdigest()

    @property
    def longest(self) -> int:
        """Upper bound of the token ids of prefix, query and label together."""
        query = self._template.longest_query(self.model_prompt.window)
        prefix = max(len(order.prefix_ids) for order in self.orders)
        return prefix + query + max(map(len, self.trie.paths))

    def longest_with(self, shots: int) -> int:
        """Return the same for a prompt with any `shots` demonstrations of each label."""
        passes = 1 + self.settings.repeats
        prefixes = [len(order.prefix_ids) - passes * order.surplus_ids(shots) for order in self.orders]
        return self.longest - max(len(order.prefix_ids) for order in self.orders) + max(prefixes)

    def check_budget(self, context_length: int) -> None:
        """Raise PromptTooLong unless every query fits, so that a run never fails at its last clip."""
        check_budget(self.longest, context_length)

    def query_ids(self, clip: ClipCodes) -> list[list[int]]:
        """Return the token ids of each window of a clip."""
        windows = self._windows(clip, self.settings.max_windows)
        return [self._template.query_ids(Query(window)) for window in windows]

    def _windows(self, clip: ClipCodes, count: int) -> list[WindowCodes]:
        width = self.model_prompt.window
        return [cut_window(clip, start, width) for start in loudest_windows(clip.levels, width, count)]

    def _order(self, demonstrations: Sequence[LabeledClip], order: int) -> PromptOrder:
        words = label_words(self.labels, self.model_prompt.slots, order)
        shots = []
        for clip in demonstrations:
            windows = self._windows(clip.codes, self.model_prompt.orders)
            shots.append(LabeledWindow(windows[order % len(windows)], words[clip.label]))
        if order:
            random.Random(order).shuffle(shots)
        instruction = Instruction(tuple(words.values())) if self.settings.instruction else None
        label_ids = {label: self._template.label_ids(word) for label, word in words.items()}
        return PromptOrder(
            self._template.prefix_ids(instruction, shots, self.settings.repeats),
            label_trie(label_ids, self._closing_id),
            self._sizes(shots),
        )

    def _sizes(self, shots: Sequence[LabeledWindow]) -> dict[str, list[int]]:
        sizes: dict[str, list[int]] = defaultdict(list)
        for demonstration in shots:
            sizes[demonstration.label].append(len(self._template.demonstration_ids(demonstration)))
        return {label: sorted(ids, reverse=True) for label, ids in sizes.items()}

    def _check_slots(self, slots: Sequence[str]) -> None:
        for slot in slots:
            if len(self._template.label_ids(slot)) != 1:
                raise CheckpointMismatch(
                    f"the slot {slot!r} is not one id of the tokenizer: model and tokenizer do not fit"
                )
