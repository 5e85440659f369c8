"""Layouts of the tables of an evaluation: which columns they have."""

from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["single", "prompts", "ways"]
TaskName = Literal[
    "none", "emotion", "sound-events", "speech-commands", "accents", "bird-sounds", "chords", "languages"
]


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the paper's tables: N labels, K demonstrations each, shown `repeats` more times."""

    n_way: int
    k_shot: int
    instruction: bool = True
    repeats: int = 0


PROMPT_COLUMNS = ((False, 1, 0), (True, 1, 0), (True, 3, 0), (True, 1, 2), (True, 1, 3))
"""Instruction, shots and repeats of the columns of Tables 2 and 8."""

MAX_WAYS = 6
"""Labels of the last column of Table 9."""


def columns(layout: Layout, requested: Column, num_labels: int) -> tuple[Column, ...]:
    """Return the columns of a layout: only `requested`, those of Tables 2 and 8, or those of Table 9."""
    if layout == "prompts":
        return tuple(
            Column(requested.n_way, shots, instruction, repeats)
            for instruction, shots, repeats in PROMPT_COLUMNS
        )
    if layout == "ways":
        return tuple(replace(requested, n_way=n) for n in range(2, min(MAX_WAYS, num_labels) + 1))
    return (requested,)
