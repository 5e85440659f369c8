"""Which words two clips share, in their order (figure 4 of the paper)."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher


@dataclass(frozen=True)
class Stretch:
    """A part of two word sequences: the same words in both if it is `shared`, else what stands between."""

    first: tuple[str, ...]
    second: tuple[str, ...]
    shared: bool


def align(first: Sequence[str], second: Sequence[str]) -> tuple[Stretch, ...]:
    """Both sequences from beginning to end, cut where a run of shared words begins or ends.

    The longest run that both have comes first, then the longest before and behind it: this is how people
    read such pairs, and not always the most words that could be paired. Takes time that grows with the
    product of the lengths.
    """
    matcher = SequenceMatcher(a=first, b=second, autojunk=False)
    return tuple(
        Stretch(tuple(first[a:a_end]), tuple(second[b:b_end]), kind == "equal")
        for kind, a, a_end, b, b_end in matcher.get_opcodes()
    )
