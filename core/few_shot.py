"""How a clip is asked for its label: demonstrations, windows and labels as token ids. No model runs here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.codes import ClipCodes
from core.constraint import label_trie
from core.demonstrations import LabeledClip, check_demonstrated, label_set
from core.prompt import (
    Demonstration,
    Instruction,
    Layers,
    PromptTemplate,
    Query,
    check_budget,
    prompt_hash,
)
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
    """

    layers: Layers = "semantic"
    repeats: int = 0
    instruction: bool = True
    window: int = DEFAULT_WINDOW
    max_windows: int = DEFAULT_MAX_WINDOWS
    mode: Mode = "service"

    def __post_init__(self) -> None:
        if self.layers not in ("semantic", "semantic+acoustic") or self.mode not in ("service", "paper"):
            raise ValueError(
                f"layers {self.layers!r} must be 'semantic' or 'semantic+acoustic', "
                f"mode {self.mode!r} 'service' or 'paper'"
            )
        if self.repeats < 0 or self.window < 1 or self.max_windows < 1:
            raise ValueError(
                f"repeats {self.repeats} must be at least 0, window {self.window} and "
                f"max_windows {self.max_windows} at least 1"
            )


class FewShotPrompt:
    """The prompt of a run: prefix_ids that all queries share, and the trie of labels.

    labels are in alphabetical order. Raises PromptError or UnknownLabel when labels and demonstrations do not
    fit together or cannot be spelled.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        labels: Sequence[str],
        demonstrations: Sequence[LabeledClip],
        settings: FewShotSettings,
    ) -> None:
        self.labels = label_set(labels)
        check_demonstrated(self.labels, demonstrations)
        self.settings = settings
        self._template = PromptTemplate(vocabulary, settings.layers)
        instruction = Instruction(self.labels) if settings.instruction else None
        shots = [Demonstration(self._loudest(clip.codes), clip.label) for clip in demonstrations]
        self.prefix_ids = self._template.prefix_ids(instruction, shots, settings.repeats)
        paper = settings.mode == "paper"
        closing_id = vocabulary.tokenizer.eos_id if paper else self._template.following_id
        label_ids = {label: self._template.label_ids(label) for label in self.labels}
        self.trie = label_trie(label_ids, closing_id)

    @property
    def prompt_hash(self) -> str:
        """Hex sha256 of the prefix, the windows and the template; the query is not in it."""
        settings = self.settings
        return prompt_hash(self.prefix_ids, settings.layers, settings.window, settings.max_windows)

    @property
    def longest(self) -> int:
        """The most token ids that prefix, query and label can take together."""
        query = self._template.longest_query(self.settings.window)
        return len(self.prefix_ids) + query + max(map(len, self.trie.paths))

    def check_budget(self, context_length: int) -> None:
        """Raise PromptTooLong unless every query fits, so that a run never fails at its last clip."""
        check_budget(self.longest, context_length)

    def query_ids(self, clip: ClipCodes) -> list[list[int]]:
        """The token ids of each window of a clip."""
        settings = self.settings
        starts = window_starts(len(clip.semantic), settings.window, settings.max_windows)
        windows = (cut_window(clip, start, settings.window) for start in starts)
        return [self._template.query_ids(Query(window)) for window in windows]

    def _loudest(self, clip: ClipCodes) -> WindowCodes:
        return cut_window(clip, loudest_window(clip.levels, self.settings.window), self.settings.window)
