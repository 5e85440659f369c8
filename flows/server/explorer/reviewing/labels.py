"""The labels of a review on keys, in the order in which the page shows them."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from db.explorer.reviews import Review, list_version_labels

MAX_LABELS = 300
KEYS = "1234567890"


@dataclass(frozen=True)
class KeyedLabel:
    """A label, the key that decides it ("" without one), and whether it is the answer that is judged."""

    label: str
    key: str
    is_answer: bool


def keyed_labels(session: Session, review: Review) -> list[KeyedLabel]:
    """Return the labels of the library version in alphabetical order, so that keys stay where they are.

    Of a random clip no answer is marked: what a person hears first measures it.
    """
    labels = list_version_labels(session, review.library, review.version, MAX_LABELS)
    keys = [*KEYS, *[""] * max(0, len(labels) - len(KEYS))]
    return [
        KeyedLabel(label, key, label == review.label and not review.is_random)
        for label, key in zip(labels, keys, strict=False)
    ]


def shown_to(review: Review, labels: Sequence[KeyedLabel]) -> dict[str, object]:
    """Return what a person sees of a review, as the decision keeps it."""
    answer = None if review.is_random else {"label": review.label, "margin": review.margin}
    keys = {one.key: one.label for one in labels if one.key}
    return {"answer": answer, "status": review.status, "drawn": review.drawn, "keys": keys}


def is_known(label: str, labels: Sequence[KeyedLabel]) -> bool:
    """Return whether a label is one that the page offers."""
    return any(one.label == label for one in labels)
