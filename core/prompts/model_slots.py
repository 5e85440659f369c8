"""A model's own prompt format, from a file in its directory.

A large model has no such file: it reads a label's own words. A mini model knows a fixed set of ids that can
stand for labels (its slots), used in the prompt instead, and audio in the form of its training.
"""

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from core.errors import CheckpointMismatch, PromptError
from core.prompts.template import Layers
from core.tokens.window import DEFAULT_WINDOW

PROMPT_FILE = "prompt.json"


@dataclass(frozen=True, slots=True)
class ModelPrompt:
    """Prompt format of a model.

    slots: words that stand for labels, empty if labels are used as they are; layers: the codes in the prompt;
    window: semantic codes per clip; orders: the number of prompts that are averaged.
    """

    slots: tuple[str, ...] = ()
    layers: Layers = "semantic"
    window: int = DEFAULT_WINDOW
    orders: int = 1

    def __post_init__(self) -> None:
        if len(set(self.slots)) != len(self.slots) or len(self.slots) == 1:
            raise ValueError(f"the slots {self.slots}: at least 2 are needed, each once, or none at all")
        if self.layers not in ("semantic", "semantic+acoustic"):
            raise ValueError(f"layers {self.layers!r} must be 'semantic' or 'semantic+acoustic'")
        if min(self.window, self.orders) < 1:
            raise ValueError(f"window {self.window} and orders {self.orders} must be at least 1")


def read_model_prompt(directory: str | Path) -> ModelPrompt:
    """Read `prompt.json` of a model directory; return the defaults if there is none.

    Raises CheckpointMismatch for an invalid file.
    """
    path = Path(directory) / PROMPT_FILE
    if not path.is_file():
        return ModelPrompt()
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not all(isinstance(slot, str) for slot in values["slots"]) or isinstance(values["slots"], str):
            raise ValueError(f"the slots {values['slots']!r} must be a list of words")
        return ModelPrompt(**values | {"slots": tuple(values["slots"])})
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointMismatch(f"{path} is not a valid prompt format: {error!r}") from error


def label_words(labels: Sequence[str], slots: Sequence[str], order: int) -> dict[str, str]:
    """Return the word for each label in the prompt: the label itself, or a slot of its own.

    Order 0 assigns the slots in sequence, every other order at random. Raises PromptError for more labels
    than slots.
    """
    if not slots:
        return {label: label for label in labels}
    if len(labels) > len(slots):
        raise PromptError(
            f"{len(labels)} labels, this model can tell {len(slots)} apart: use fewer, or let "
            "a large model or the nearest neighbor answer"
        )
    chosen = random.Random(order).sample(list(slots), len(labels)) if order else slots[: len(labels)]
    return dict(zip(labels, chosen, strict=True))
