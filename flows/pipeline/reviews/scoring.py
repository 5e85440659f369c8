"""The old and the next version of a library, asked the same questions whose answers people gave.

Questions are random reviews and canaries, which neither version demonstrates, and the decisions that the next
version learned from, each answered by that version without a fifth of them, its own among it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from core.errors import PromptError
from core.in_context.reviewing.comparison import Gain, paired_gain
from db.libraries import LibraryDemonstration
from flows.pipeline.labeling.labelers.answering import NEAREST_NEIGHBOR, asks_llm
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.reviews.answers import Answers, computed_by
from flows.pipeline.reviews.vectors import review_features

if TYPE_CHECKING:
    from core.in_context.choosing.library import Demonstration
    from core.in_context.features import ClipFeatures

RANDOM, CANARIES, LEFT_OUT = "random reviews", "canaries", "decisions left out"
HONEST = (RANDOM, CANARIES)
"""Kinds of questions that are as easy as any clip; decisions are about doubtful ones."""
FOLDS = 5

Truth = Mapping[bytes, str]
"""The right label by content."""
Sides = tuple[list[bool], list[bool]]
"""What the old and the new side got right, question by question."""


@dataclass(frozen=True)
class Scores:
    """The gain of the next version by kind of question, and over all questions."""

    parts: Mapping[str, Gain]
    together: Gain

    @property
    def is_better(self) -> bool:
        """Whether the gain is above zero for sure, and questions about any clip go no worse."""
        honest = [self.parts[kind] for kind in HONEST if kind in self.parts]
        return self.together.low > 0 and all(one.gain >= 0 for one in honest)


def score(
    questions: Mapping[str, Truth], old: Answers, new: Answers, left_out: Sides | None = None
) -> Scores:
    """Ask both sides. `questions` are those of HONEST that there are, by kind."""
    answered = {kind: (_right(old, truth), _right(new, truth)) for kind, truth in questions.items() if truth}
    if left_out:
        answered[LEFT_OUT] = left_out
    parts = {kind: paired_gain(*sides) for kind, sides in answered.items()}
    before, after = ([one for sides in answered.values() for one in sides[at]] for at in (0, 1))
    return Scores(parts, paired_gain(before, after))


def _right(answers: Answers, truth: Truth) -> list[bool]:
    """Return for each content whether the answer is right; one that cannot be given is wrong."""
    said = answers(truth.keys())
    return [said.get(content) == label for content, label in truth.items()]


def score_left_out(
    added: Sequence[LibraryDemonstration], old: LabelingSetup, new: LabelingSetup
) -> Sides | None:
    """Ask both versions about what the new one learned, which it is not shown then; None without any."""
    if not added:
        return None
    truth = {row.content_sha256: row.label_or_text for row in added}
    features = review_features(new.runtime, truth.keys())
    known = {content: label for content, label in truth.items() if content in features}
    return _right(computed_by(old), known), _by_folds(new, known, features)


def _by_folds(new: LabelingSetup, truth: Truth, features: Mapping[bytes, ClipFeatures]) -> list[bool]:
    right: dict[bytes, bool] = {}
    for number in range(min(FOLDS, len(truth))):
        fold = list(truth)[number::FOLDS]
        said = _answers_without(new, fold, [features[content] for content in fold])
        right |= {content: label == truth[content] for content, label in zip(fold, said, strict=True)}
    return [right[content] for content in truth]


def _answers_without(
    setup: LabelingSetup, fold: Sequence[bytes], queries: Sequence[ClipFeatures]
) -> list[str | None]:
    """Return what the labeler of a version says when it is not shown these contents; None: nothing."""
    from core.in_context.choosing import answer_by, labeler_names
    from core.in_context.choosing.labelers import NEAREST_TOKENS

    shown = _shown_without(setup, fold)
    labels = tuple(sorted({one.label for one in shown}))
    answering = setup.answering.method
    method = NEAREST_TOKENS if answering == NEAREST_NEIGHBOR else answering
    installed = setup.comparison.installed(few_shot=asks_llm(method))
    try:
        names = labeler_names(shown, installed)
        said = answer_by(method, labels, shown, installed, queries, names)
    except PromptError:
        return [None] * len(queries)
    return [labels[int(row.argmax())] for row in said]


def _shown_without(setup: LabelingSetup, fold: Sequence[bytes]) -> list[Demonstration]:
    from core.in_context.choosing.library import Demonstration

    rows = [row for row in setup.library.demonstrations if row.content_sha256 not in set(fold)]
    features = review_features(setup.runtime, {row.content_sha256 for row in rows})
    return [
        Demonstration(features[row.content_sha256], row.label_or_text)
        for row in rows
        if row.content_sha256 in features
    ]
