"""The few-shot labeling prompt as token ids, piece by piece (paper, section 3.3 and released evaluation).

Every piece of text is tokenized separately and the ids are joined: the ids of the joined text differ. All
queries of a run share the prefix (instruction and demonstrations); the query follows it.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from core.errors import PromptTooLong, UnknownLabel
from core.tokens.vocabulary import Vocabulary
from core.tokens.window import WindowCodes

TEMPLATE_VERSION = 1

OPENING, CLOSING = "###\nInput: < ", " >\nOutput: "
"""Text before and after every request."""

Layers = Literal["semantic", "semantic+acoustic"]


@dataclass(frozen=True, slots=True)
class Instruction:
    """The sentence that lists the labels, in alphabetical order (the paper's task induction)."""

    labels: tuple[str, ...]

    @property
    def text(self) -> str:
        """The sentence as in the released evaluation."""
        names = " or ".join(f"'{label}'" for label in sorted(self.labels))
        return f"For each of the following input output pairs, output is one of [{names}]\n"


@dataclass(frozen=True, slots=True)
class LabeledWindow:
    """A window of audio and its label."""

    window: WindowCodes
    label: str


@dataclass(frozen=True, slots=True)
class Query:
    """A window of audio without its label."""

    window: WindowCodes


class PromptTemplate:
    """Converts the parts of a prompt to token ids.

    opening_ids and closing_ids come before and after the codes of every window.
    """

    def __init__(self, vocabulary: Vocabulary, layers: Layers = "semantic") -> None:
        self.layers = layers
        self._vocabulary = vocabulary
        self.opening_ids = vocabulary.tokenizer.encode(OPENING)
        self.closing_ids = vocabulary.tokenizer.encode(CLOSING)

    @property
    def following_id(self) -> int:
        """First token id of the piece that follows a label."""
        return self.opening_ids[0]

    def label_ids(self, label: str) -> list[int]:
        """Return the token ids of a label. Raises UnknownLabel if the tokenizer cannot spell it."""
        token_ids = self._vocabulary.tokenizer.encode(label)
        if not token_ids or self._vocabulary.tokenizer.unk_id in token_ids:
            raise UnknownLabel(f"the tokenizer cannot spell the label {label!r}: use another word")
        return token_ids

    def instruction_ids(self, instruction: Instruction | None) -> list[int]:
        """Return the begin id and the instruction, or the begin id alone."""
        tokenizer = self._vocabulary.tokenizer
        return [tokenizer.bos_id, *(tokenizer.encode(instruction.text) if instruction else [])]

    def demonstration_ids(self, demonstration: LabeledWindow) -> list[int]:
        """Return the ids of the demonstration's window and its label."""
        return [*self._window_ids(demonstration.window), *self.label_ids(demonstration.label)]

    def query_ids(self, query: Query) -> list[int]:
        """Return the ids of the query's window, up to where its label would begin."""
        return self._window_ids(query.window)

    def prefix_ids(
        self, instruction: Instruction | None, demonstrations: Sequence[LabeledWindow], repeats: int = 0
    ) -> list[int]:
        """Return the part shared by all queries. Demonstrations appear once, and `repeats` times more."""
        shots = [token_id for one in demonstrations for token_id in self.demonstration_ids(one)]
        return self.instruction_ids(instruction) + shots * (1 + repeats)

    def longest_query(self, width: int) -> int:
        """Return an upper bound of the token ids of a query of `width` semantic codes."""
        semantic = width * self._vocabulary.longest_word
        acoustic = 0 if self.layers == "semantic" else width * (2 + 4)
        return len(self.opening_ids) + semantic + acoustic + len(self.closing_ids)

    def _window_ids(self, window: WindowCodes) -> list[int]:
        layers = window.layers[:1] if self.layers == "semantic" else window.layers
        return [*self.opening_ids, *self._vocabulary.flatten(layers), *self.closing_ids]


def check_budget(needed: int, context_length: int) -> None:
    """Raise PromptTooLong when a prompt of `needed` token ids does not fit the model's context."""
    if needed > context_length:
        raise PromptTooLong(needed, context_length)


def prompt_hash(prefix_ids: Sequence[int], layers: Layers, window: int, max_windows: int) -> str:
    """Return the hex sha256 of the prompt without the query."""
    parts = {
        "template": TEMPLATE_VERSION,
        "layers": layers,
        "window": window,
        "max_windows": max_windows,
        "prefix": list(prefix_ids),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
