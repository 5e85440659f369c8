"""Slots: the few words that a small model was trained to take as labels, whatever people write.

A large model reads a label's own words. A mini model knows a fixed set of ids that may stand for labels; a
file beside its weights names them, and the prompt says them in place of the labels.
"""

import json
import random
from collections.abc import Sequence
from pathlib import Path

from core.errors import CheckpointMismatch, PromptError

PROMPT_FILE = "prompt.json"


def read_slots(directory: str | Path) -> tuple[str, ...]:
    """The slots of a model directory, none where it has no `prompt.json`: labels are then said as they are.

    Raises CheckpointMismatch when the file holds no list of distinct words.
    """
    path = Path(directory) / PROMPT_FILE
    if not path.is_file():
        return ()
    slots = json.loads(path.read_text(encoding="utf-8")).get("slots")
    if not isinstance(slots, list) or not all(isinstance(slot, str) for slot in slots):
        raise CheckpointMismatch(f"{path} must have a list of words under 'slots', got {slots!r}")
    if len(set(slots)) != len(slots) or len(slots) < 2:
        raise CheckpointMismatch(f"{path} has the slots {slots}: at least 2 are needed, each once")
    return tuple(slots)


def said_labels(labels: Sequence[str], slots: Sequence[str], order: int) -> dict[str, str]:
    """What the prompt says for each label: itself without slots, else a slot of its own.

    Order 0 gives the labels the slots as they stand, every other order its own drawing of them. Raises
    PromptError when there are more labels than slots.
    """
    if not slots:
        return {label: label for label in labels}
    if len(labels) > len(slots):
        raise PromptError(
            f"{len(labels)} labels, this model can tell {len(slots)} apart: use fewer, or a large model"
        )
    chosen = random.Random(order).sample(list(slots), len(labels)) if order else slots[: len(labels)]
    return dict(zip(labels, chosen, strict=True))
