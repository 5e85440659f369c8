"""Alignment of the words that two clips share (figure 4 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Stretch:
    """A part of two word sequences: the same words in both if it is `shared`, else different ones."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    shared: bool


def align(first: Sequence[str], second: Sequence[str]) -> tuple[Stretch, ...]:
    """Cut both sequences where a run of shared words begins or ends.

    The longest common run is matched first, then the longest ones before and after it, as people read such
    pairs. This does not always pair the most words. Time grows with the product of the lengths.
    """
    matcher = SequenceMatcher(a=first, b=second, autojunk=False)
    return tuple(
        Stretch(tuple(first[a:a_end]), tuple(second[b:b_end]), kind == "equal")
        for kind, a, a_end, b, b_end in matcher.get_opcodes()
    )
