"""An exported answer, in any file format."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

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
