"""An exported answer, in any file format."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from db.libraries import LibraryVersion

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class LabelRow:
    """One answer, with the columns of the view analytics.labels."""

    uri: str
    content_sha256: str
    task: str
    label: str
    probability: float
    margin: float
    status: str
    chance: float
    majority_label: str | None
    nearest_label: str | None
    nearest_latent_label: str | None
    probabilities: Mapping[str, float]
    is_demonstration: bool
    library: str
    version: int
    labeler: str
    llm: str | None
    codec: str
    run: str
    created_at: datetime
    raw_probabilities: Mapping[str, float] | None = field(default=None, repr=False)
    """Not in the key of an export, which is made of the text of its rows: earlier exports stay the same."""


@dataclass(frozen=True)
class LabelsRow:
    """The answers to a clip by the labels of a multi-label library, as in the view analytics.multi_labels.

    `labels` has those that were answered yes, of `uncertain` ones too, but not of `unknown` ones.
    """

    uri: str
    content_sha256: str
    labels: Sequence[str]
    probabilities: Mapping[str, float]
    uncertain: Sequence[str]
    unknown: Sequence[str]
    is_demonstration: bool
    library: str
    version: int
    labelers: Mapping[str, str]
    codec: str
    created_at: datetime


ExportedRow = LabelRow | LabelsRow


def labels_row(library: LibraryVersion, by_label: Mapping[str, LabelRow]) -> LabelsRow:
    """Return the row of a clip that has an answer of each label."""
    some = next(iter(by_label.values()))

    def those(status: str) -> list[str]:
        return [label for label, row in by_label.items() if row.status == status]

    return LabelsRow(
        uri=some.uri,
        content_sha256=some.content_sha256,
        labels=[label for label, row in by_label.items() if row.label == label and row.status != "unknown"],
        probabilities={label: row.probabilities[label] for label, row in by_label.items()},
        uncertain=those("uncertain"),
        unknown=those("unknown"),
        is_demonstration=some.is_demonstration,
        library=library.name,
        version=library.version,
        labelers={label: row.labeler for label, row in by_label.items()},
        codec=some.codec,
        created_at=max(row.created_at for row in by_label.values()),
    )
