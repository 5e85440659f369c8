"""What the labelers say of a library's own demonstrations, each asked while it is not shown."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.choosing.folding import folds
from core.in_context.choosing.labelers import FEW_SHOT, build_labelers, labeler_names
from core.in_context.choosing.library import Demonstration, Installed
from core.in_context.choosing.mixtures import with_mixtures


@dataclass(frozen=True, eq=False)
class LeftOutAnswers:
    """gold: the number of the right label of each answer; probabilities (answers, labels): by labeler.

    Without demonstrations that can be left out there are no answers, and no labelers.
    """

    gold: tuple[int, ...]
    probabilities: dict[str, FloatArray]


def left_out(
    labels: Sequence[str], demonstrations: Sequence[Demonstration], installed: Installed, *, few_shot: bool
) -> LeftOutAnswers:
    """Return the answers to all demonstrations that can be left out; few_shot: those of the LLM too."""
    gold: list[int] = []
    answers: list[dict[str, FloatArray]] = []
    for fold in folds(demonstrations):
        rest = [one for at, one in enumerate(demonstrations) if at not in fold]
        held_out = [demonstrations[at] for at in fold]
        names = (name for name in labeler_names(rest, installed) if few_shot or name != FEW_SHOT)
        built = build_labelers(names, labels, rest, installed)
        queries = [one.features for one in held_out]
        probabilities = {name: labeler.probabilities(queries) for name, labeler in built.items()}
        answers.append(with_mixtures(probabilities, installed.embeddings))
        gold += [labels.index(one.label) for one in held_out]
    known = answers[0] if answers else ()
    return LeftOutAnswers(
        tuple(gold), {name: np.concatenate([one[name] for one in answers]) for name in known}
    )
