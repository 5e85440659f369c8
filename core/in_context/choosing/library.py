"""What labelers are built from: the demonstrations of a library, and what else may answer beside them."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from core.embeddings.log_mel_model import LOG_MEL
from core.in_context.baselines import FloatArray
from core.in_context.features import ClipFeatures
from core.prompts.demonstrations import LabeledClip


class ProbabilityLabeler(Protocol):
    """Labels clips by demonstrations that were given once."""

    def probabilities(self, queries: Sequence[ClipFeatures]) -> FloatArray:
        """Return (queries, labels), the labels in alphabetical order."""


@dataclass(frozen=True, eq=False)
class Demonstration:
    """A clip of a library; demonstrations of one group were recorded together, without one it is its own."""

    features: ClipFeatures
    label: str
    group: str | None = None

    @property
    def clip(self) -> LabeledClip:
        """The demonstration as a prompt shows it."""
        return LabeledClip(self.features.codes, self.label)


LATENTS, JOINED = "latents", "joined"
"""Names of what labelers compare beside embeddings."""

FewShotFactory = Callable[[Sequence[str], Sequence[Demonstration]], ProbabilityLabeler]
"""Builds the labeler that asks the LLM, from labels and demonstrations."""


class TextSimilarity(Protocol):
    """Compares texts, such as a sentence encoder."""

    def similarities(self, texts: Sequence[str], others: Sequence[str]) -> FloatArray:
        """Return (texts, others), at most 1."""


@dataclass(frozen=True)
class Installed:
    """What may answer beside the labelers that need no model.

    embeddings: names of installed embeddings, as the clips' vectors have them. taggers: of those that score
    classes, the classes' names. few_shot: how the LLM is asked. texts: compares labels with classes; word
    overlap with the library's synonyms, by label, if None. Raises ValueError for an embedding whose name is
    taken.
    """

    embeddings: tuple[str, ...] = ()
    taggers: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    few_shot: FewShotFactory | None = None
    texts: TextSimilarity | None = None
    synonyms: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        taken = Counter((LATENTS, LOG_MEL, JOINED, *self.embeddings))
        if twice := sorted(name for name, count in taken.items() if count > 1):
            raise ValueError(
                f"the embeddings {twice} have names that are taken: change `name` in embedding.json"
            )
