"""Label sets, and the labeled clips that demonstrate them."""

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.errors import PromptError, UnknownLabel
from core.tokens.clip_codes import ClipCodes


@dataclass(frozen=True, slots=True)
class LabeledClip:
    """A clip of a demonstration library: whole-file codes and its label."""

    codes: ClipCodes
    label: str


def label_set(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels in alphabetical order, as the instruction lists them.

    Raises PromptError for fewer than two labels, a duplicate, and a label that is empty, has outer spaces or
    contains "###", which begins a part of the prompt, or line breaks or other unprintable characters.
    """
    if len(labels) < 2:
        raise PromptError(f"a label set of {len(labels)} has nothing to tell apart: give at least 2 labels")
    for label, count in Counter(labels).items():
        if count > 1:
            raise PromptError(f"the label {label!r} is given {count} times: give each label once")
        if not label or label != label.strip() or not label.isprintable() or "###" in label:
            raise PromptError(f"{label!r} is not a label: use printable text without outer spaces or '###'")
    return tuple(sorted(labels))


def check_demonstrated(labels: Sequence[str], demonstrations: Sequence[LabeledClip]) -> None:
    """Raise UnknownLabel for a demonstration outside the label set, PromptError for a label without one."""
    shown = {demonstration.label for demonstration in demonstrations}
    if unknown := sorted(shown - set(labels)):
        raise UnknownLabel(f"the demonstrations' labels {unknown} are not in the label set {list(labels)}")
    if missing := sorted(set(labels) - shown):
        raise PromptError(f"the labels {missing} have no demonstration: add one or drop the label")


def select_demonstrations(
    library: Sequence[LabeledClip], labels: Sequence[str], k_shot: int, *, seed: int | None = None
) -> list[LabeledClip]:
    """Return the first `k_shot` clips of each label in library order, or shuffled by a seed.

    Raises PromptError when a label has fewer, so that a run never shows one label more often than another.
    """
    shots = {label: [clip for clip in library if clip.label == label][:k_shot] for label in labels}
    for label, clips in shots.items():
        if len(clips) < max(1, k_shot):
            raise PromptError(f"the label {label!r} has {len(clips)} demonstrations, {k_shot} are needed")
    chosen = {id(clip) for clips in shots.values() for clip in clips}
    selected = [clip for clip in library if id(clip) in chosen]
    if seed is not None:
        random.Random(seed).shuffle(selected)
    return selected
