"""How a model was trained to be asked: a file beside its weights says so.

A large model has no such file: it reads a label's own words. A mini model knows a fixed set of ids that may
stand for labels (its slots), which the prompt says in place of them, and audio as it was shown in training.
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
    """slots: words that stand for labels, none where labels are said as they are; layers: the codes that are
    shown; window: how many semantic codes of a clip; orders: how many prompts are averaged."""

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
    """What `prompt.json` of a model directory says, the defaults where there is none.

    Raises CheckpointMismatch when the file does not read as a ModelPrompt.
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
        raise CheckpointMismatch(f"{path} does not say how the model is asked: {error!r}") from error


def label_words(labels: Sequence[str], slots: Sequence[str], order: int) -> dict[str, str]:
    """What the prompt says for each label: itself without slots, else a slot of its own.

    Order 0 gives the labels the slots as they stand, every other order its own drawing of them. Raises
    PromptError when there are more labels than slots.
    """
    if not slots:
        return {label: label for label in labels}
    if len(labels) > len(slots):
        raise PromptError(
            f"{len(labels)} labels, this model can tell {len(slots)} apart: use fewer, or let "
            "a large model or the nearest neighbour answer"
        )
    chosen = random.Random(order).sample(list(slots), len(labels)) if order else slots[: len(labels)]
    return dict(zip(labels, chosen, strict=True))
