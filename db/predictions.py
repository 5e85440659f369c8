"""Labels: written once per work key, found by selection or by run, retracted but never deleted."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, TextClause, select, text, update
from sqlalchemy.orm import Session

from db.base import among
from db.bulk_insert import insert_new
from db.clips import Selection, in_selection
from db.models import Clip, PredictionRow

KEYS_AT_A_TIME = 10_000
"""Work keys per statement, which takes many times their memory."""
ROWS_AT_A_TIME = 5_000

CURRENT_LABELS = text(
    """
    SELECT uri, encode(content_sha256, 'hex') AS content_sha256, task, label, probability, margin, status,
      chance, majority_label, nearest_label, nearest_latent_label, probabilities, is_demonstration, library,
      version, labeler, llm, codec, run::text AS run, created_at, raw_probabilities
    FROM analytics.labels
    WHERE missing_since IS NULL AND library = :library AND (uri = :place OR starts_with(uri, :folder))
    ORDER BY uri
    """
)


CURRENT_MULTI_LABELS = text(
    """
    SELECT uri, encode(content_sha256, 'hex') AS content_sha256, labels, probabilities, uncertain, unknown,
      is_demonstration, library, version, labelers, codec, created_at
    FROM analytics.multi_labels
    WHERE missing_since IS NULL AND library = :library AND (uri = :place OR starts_with(uri, :folder))
    ORDER BY uri
    """
)


@dataclass(frozen=True)
class NewPrediction:
    """An answer to store. `probabilities` includes the label; `baselines` has the free baselines' guesses.

    Keys of `baselines` in the analysts' view: chance (a number), majority, nearest and, if known,
    nearest_latent (labels), and labelers (label and probability by labeler). `llm_id` is None for a labeler
    without a language model.
    """

    work_key: bytes
    content_sha256: bytes
    task: str
    demonstration_set_id: int
    codec_id: int
    llm_id: int | None
    labeler: str
    label: str
    probabilities: Mapping[str, float]
    margin: float
    min_margin: float
    baselines: Mapping[str, Any]
    is_demonstration: bool
    provenance: Mapping[str, Any]
    seed: int
    calibration: Mapping[str, Any] | None = None
    raw_probabilities: Mapping[str, float] | None = None
    distance: float | None = None
    max_distance: float | None = None

    @property
    def is_unknown(self) -> bool:
        """Whether the clip is too far from every demonstration."""
        if self.distance is None or self.max_distance is None:
            return False
        return self.distance > self.max_distance


@dataclass(frozen=True)
class Answer:
    """A stored answer for one current clip with the answered content."""

    uri: str
    content_sha256: bytes
    work_key: bytes
    task: str
    labeler: str
    label: str
    probabilities: Mapping[str, float]
    margin: float
    min_margin: float
    baselines: Mapping[str, Any]
    is_demonstration: bool
    run_id: UUID
    created_at: datetime
    raw_probabilities: Mapping[str, float] | None = None
    distance: float | None = None

    @property
    def probability(self) -> float:
        return self.probabilities[self.label]

    @property
    def status(self) -> Literal["labeled", "uncertain"]:
        return "uncertain" if self.margin < self.min_margin else "labeled"


def _parts(work_keys: Collection[bytes]) -> Iterator[list[bytes]]:
    """Yield parts for a statement each, sorted, so that two writers of the same answers use the same
    order.
    """
    ordered = sorted(work_keys)
    for start in range(0, len(ordered), KEYS_AT_A_TIME):
        yield ordered[start : start + KEYS_AT_A_TIME]


def _standing(work_keys: Collection[bytes]) -> ColumnElement[bool]:
    """Return the condition for answers of these work keys that are not retracted."""
    return among(PredictionRow.work_key, work_keys) & PredictionRow.retracted_by_run.is_(None)


def existing_work_keys(session: Session, work_keys: Collection[bytes]) -> set[bytes]:
    """Return those of the work keys that have an answer that is not retracted."""
    found: set[bytes] = set()
    for some in _parts(work_keys):
        found.update(session.scalars(select(PredictionRow.work_key).where(_standing(some))))
    return found


def get_margins(session: Session, work_keys: Collection[bytes]) -> dict[bytes, float]:
    """Return the margins of the answers of these work keys that are not retracted."""
    found: dict[bytes, float] = {}
    for some in _parts(work_keys):
        rows = session.execute(select(PredictionRow.work_key, PredictionRow.margin).where(_standing(some)))
        found.update(rows.tuples().all())
    return found


def save_predictions(session: Session, run_id: UUID, predictions: Sequence[NewPrediction]) -> int:
    """Write the answers whose work key is free, and return their number."""
    ordered = sorted(predictions, key=lambda prediction: prediction.work_key)
    return insert_new(
        session, PredictionRow, [vars(prediction) | {"run_id": run_id} for prediction in ordered]
    )


def get_answers(session: Session, selection: Selection, work_keys: Collection[bytes]) -> list[Answer]:
    """Return the answers of these work keys for the selected current clips, in uri order.

    Joined here: after a large write, outdated statistics make the server compare all pairs.
    """
    stored = PredictionRow
    columns = [getattr(stored, field.name) for field in fields(Answer) if field.name != "uri"]
    by_content = defaultdict(list)
    for row in session.execute(select(*columns).where(_standing(work_keys)).order_by(stored.id)).mappings():
        by_content[row["content_sha256"]].append(row)
    found = session.execute(
        select(Clip.uri, Clip.content_sha256)
        .where(in_selection(selection), among(Clip.content_sha256, by_content))
        .order_by(Clip.uri)
    )
    return [Answer(uri=uri, **row) for uri, sha256 in found if sha256 for row in by_content[sha256]]


def set_min_margin(session: Session, work_keys: Collection[bytes], min_margin: float) -> None:
    """Set the bound of the margin of answers that are not retracted; equal bounds are not written."""
    for some in _parts(work_keys):
        session.execute(
            update(PredictionRow)
            .where(_standing(some), PredictionRow.min_margin != min_margin)
            .values(min_margin=min_margin)
        )


def set_max_distance(session: Session, work_keys: Collection[bytes], max_distance: float | None) -> None:
    """Set the distance above which answers that are not retracted are unknown; None: at no distance."""
    for some in _parts(work_keys):
        session.execute(
            update(PredictionRow)
            .where(
                _standing(some),
                PredictionRow.distance.is_not(None),
                PredictionRow.max_distance.is_distinct_from(max_distance),
            )
            .values(max_distance=max_distance)
        )


def current_labels(session: Session, place: str, library: str) -> Iterator[dict[str, Any]]:
    """Yield the current label of each current clip of a place by a library, in uri order, as view rows."""
    return _view_rows(session, CURRENT_LABELS, place, library)


def current_multi_labels(session: Session, place: str, library: str) -> Iterator[dict[str, Any]]:
    """Yield the current labels of each current clip of a place by a multi-label library, in uri order."""
    for row in _view_rows(session, CURRENT_MULTI_LABELS, place, library):
        yield row | {name: dict(sorted(row[name].items())) for name in ("probabilities", "labelers")}


def _view_rows(session: Session, question: TextClause, place: str, library: str) -> Iterator[dict[str, Any]]:
    rows = session.execute(
        question,
        {"place": place, "folder": place.rstrip("/") + "/", "library": library},
        execution_options={"yield_per": ROWS_AT_A_TIME},
    )
    for row in rows.mappings():
        yield dict(row)
