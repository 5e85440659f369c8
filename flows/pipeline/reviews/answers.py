"""What clips are called by one side of a comparison; nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from core.errors import AudioRejected
from db.engine import session_scope
from db.reviews.nights import current_labels_of
from flows.pipeline.labeling.setup import LabelingSetup
from flows.pipeline.reviews.vectors import is_answerable, review_features
from flows.pipeline.runtime.resources import Runtime

Answers = Callable[[Collection[bytes]], Mapping[bytes, str]]
"""Returns the label of each content that has one."""


def computed_by(setup: LabelingSetup) -> Answers:
    """Return the answers of a version's labeler, for contents that have all that it compares."""

    def answers(contents: Collection[bytes]) -> Mapping[bytes, str]:
        features = review_features(setup.runtime, contents)
        usable = {content: one for content, one in features.items() if is_answerable(setup, one)}
        given = setup.predict(list(usable.values())) if usable else []
        pairs = zip(usable, given, strict=True)
        return {content: one.label for content, one in pairs if not isinstance(one, AudioRejected)}

    return answers


def current_of(runtime: Runtime, library: str) -> Answers:
    """Return the current answers of a library, whatever gave them."""

    def answers(contents: Collection[bytes]) -> Mapping[bytes, str]:
        with session_scope(runtime.engine) as session:
            found = current_labels_of(session, library, contents)
        return {content: one.label for content, one in found.items()}

    return answers
