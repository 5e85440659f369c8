"""Labelers side by side, their mixtures, and the choice of the one that answers for a library.

`choose` compares them on a library's own demonstrations. `build_labelers` and `with_mixtures` answer by all
of them, `answer_by` by one.
"""

from core.in_context.choosing.choice import Candidate, Choice, candidate_names, choose
from core.in_context.choosing.labelers import Prompted, build_labelers, labeler_names
from core.in_context.choosing.library import Demonstration, Installed, ProbabilityLabeler, TextSimilarity
from core.in_context.choosing.mixtures import answer_by, with_mixtures
from core.in_context.choosing.unknown import UnknownBound

__all__ = [
    "Candidate",
    "Choice",
    "Demonstration",
    "Installed",
    "ProbabilityLabeler",
    "Prompted",
    "TextSimilarity",
    "UnknownBound",
    "answer_by",
    "build_labelers",
    "candidate_names",
    "choose",
    "labeler_names",
    "with_mixtures",
]
