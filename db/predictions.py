"""Labels: written once per work key, found again by selection or by run, retracted but never deleted."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ARRAY, ColumnElement, LargeBinary, any_, cast, select, update
from sqlalchemy.orm import Session

from db.bulk_insert import insert_new
from db.clips import Selection, in_selection
from db.models import Clip, PredictionRow

KEYS_AT_A_TIME = 10_000
"""Of one statement, which takes many times their memory."""


@dataclass(frozen=True)
class NewPrediction:
    """An answer to store. `probabilities` has the label; `baselines` has what the free baselines say.

    Keys of `baselines` that the analysts' view shows: chance (a number), majority, nearest and, where it is
    known, nearest_latent (labels).
    `llm_id` is None for a labeler that asks no language model.
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


@dataclass(frozen=True)
class Answer:
    """A stored answer, for one current clip that has the answered content."""

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

    @property
    def probability(self) -> float:
        return self.probabilities[self.label]

    @property
    def status(self) -> Literal["labeled", "uncertain"]:
        return "uncertain" if self.margin < self.min_margin else "labeled"


def _parts(work_keys: Collection[bytes]) -> Iterator[list[bytes]]:
    """For a statement each; in order, so that two writers of the same answers come to them alike."""
    ordered = sorted(work_keys)
    for start in range(0, len(ordered), KEYS_AT_A_TIME):
        yield ordered[start : start + KEYS_AT_A_TIME]


def _standing(work_keys: Collection[bytes]) -> ColumnElement[bool]:
    """Answers of these work keys that are not retracted."""
    keys = cast(sorted(work_keys), ARRAY(LargeBinary))
    return (PredictionRow.work_key == any_(keys)) & PredictionRow.retracted_by_run.is_(None)


def existing_work_keys(session: Session, work_keys: Collection[bytes]) -> set[bytes]:
    """Those of the work keys that are answered and not retracted."""
    found: set[bytes] = set()
    for some in _parts(work_keys):
        found.update(session.scalars(select(PredictionRow.work_key).where(_standing(some))))
    return found


def get_margins(session: Session, work_keys: Collection[bytes]) -> dict[bytes, float]:
    """The margins of those of the work keys that are answered and not retracted."""
    found: dict[bytes, float] = {}
    for some in _parts(work_keys):
        rows = session.execute(select(PredictionRow.work_key, PredictionRow.margin).where(_standing(some)))
        found.update(rows.tuples().all())
    return found


def save_predictions(session: Session, run_id: UUID, predictions: Sequence[NewPrediction]) -> int:
    """Writes the answers whose work key has none, and returns how many those were."""
    ordered = sorted(predictions, key=lambda prediction: prediction.work_key)
    return insert_new(
        session, PredictionRow, [vars(prediction) | {"run_id": run_id} for prediction in ordered]
    )


def get_answers(session: Session, selection: Selection, work_keys: Collection[bytes]) -> list[Answer]:
    """The answers of these work keys for the selected current clips, in uri order."""
    return _answers(session, in_selection(selection), _standing(work_keys))


def get_run_answers(session: Session, run_id: UUID) -> list[Answer]:
    """The standing answers that a run wrote, for every current clip of their contents, in uri order."""
    written = (PredictionRow.run_id == run_id) & PredictionRow.retracted_by_run.is_(None)
    return _answers(session, Clip.missing_since.is_(None), written)


def _answers(session: Session, clips: ColumnElement[bool], answers: ColumnElement[bool]) -> list[Answer]:
    """Joined here: right after a large write the server's statistics mislead it to compare every pair."""
    stored = PredictionRow
    columns = [getattr(stored, field.name) for field in fields(Answer) if field.name != "uri"]
    by_content = defaultdict(list)
    for row in session.execute(select(*columns).where(answers).order_by(stored.id)).mappings():
        by_content[row["content_sha256"]].append(row)
    contents = cast(sorted(by_content), ARRAY(LargeBinary))
    found = session.execute(
        select(Clip.uri, Clip.content_sha256)
        .where(clips, Clip.content_sha256 == any_(contents))
        .order_by(Clip.uri)
    )
    return [Answer(uri=uri, **row) for uri, sha256 in found if sha256 for row in by_content[sha256]]


def set_min_margin(session: Session, work_keys: Collection[bytes], min_margin: float) -> None:
    """Judges standing answers by another bound; answers that have it already are left alone."""
    for some in _parts(work_keys):
        session.execute(
            update(PredictionRow)
            .where(_standing(some), PredictionRow.min_margin != min_margin)
            .values(min_margin=min_margin)
        )
