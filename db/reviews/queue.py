"""Queues of clips to review: candidates among current answers, and the rows of each queue."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import func, insert, select, text
from sqlalchemy.orm import Session

from db.base import among
from db.clips import LABEL_STAGE, Selection
from db.models import Clip, PooledLatent, PredictionRow, QueuedReview

_CANDIDATES = """
SELECT a.content_sha256, a.prediction_id, c.uri, a.label, a.margin, a.status, p.baselines -> 'labelers'
FROM current_answers a
JOIN predictions p ON p.id = a.prediction_id AND p.demonstration_set_id = :version
JOIN LATERAL (
  SELECT uri FROM clips WHERE content_sha256 = a.content_sha256 AND missing_since IS NULL ORDER BY uri LIMIT 1
) c ON true
WHERE a.library = :library AND a.task = :task AND NOT a.is_demonstration AND NOT EXISTS (
  SELECT FROM review_queue q JOIN demonstration_sets s ON s.id = q.demonstration_set_id
  LEFT JOIN review_decisions d ON d.review_id = q.id
  WHERE q.content_sha256 = a.content_sha256 AND s.name = a.library AND {is_out})
  AND {among}
ORDER BY {order} LIMIT :limit
"""
_DOUBTFUL = text(
    _CANDIDATES.format(
        is_out="(q.drawn = 'random' OR d.id IS NOT NULL)",
        among="true",
        order="a.status <> 'unknown', a.margin, a.prediction_id",
    )
)
_WAITS = "a.content_sha256 = ANY(:waiting)"
_RANDOM = text(
    _CANDIDATES.format(
        is_out="q.drawn = 'random' AND d.id IS NOT NULL",
        among=f"""({_WAITS} OR EXISTS (
      SELECT FROM clips n WHERE n.content_sha256 = a.content_sha256 AND n.missing_since IS NULL
        AND (CAST(:folder AS text) IS NULL OR n.uri = :folder OR starts_with(n.uri, :folder || '/'))
        AND (CAST(:uris AS text[]) IS NULL OR n.uri = ANY(:uris))))""",
        order=f"NOT {_WAITS}, sha256(a.content_sha256 || convert_to(a.library, 'UTF8')), a.content_sha256",
    )
)
_REVIEWED = text(
    """
    SELECT DISTINCT q.content_sha256 FROM review_queue q JOIN review_decisions d ON d.review_id = q.id
    JOIN demonstration_sets s ON s.id = q.demonstration_set_id WHERE s.name = :library
    """
)
_QUEUE = """
SELECT review, library, version, position, drawn, reason, uri, content_sha256, label, margin, status, gain,
  stands_for, answer, is_open, decisions
FROM analytics.reviews WHERE {of} ORDER BY position
"""
_OF_RUN = text(_QUEUE.format(of="run = :run"))
_NUMBERED = text(_QUEUE.format(of="review = ANY(:reviews)"))
_OPEN = text(_QUEUE.format(of="library = :library AND is_open"))


@dataclass(frozen=True)
class ReviewCandidate:
    """A current answer that a person may judge. `by_labeler` has what each labeler says, if known."""

    content_sha256: bytes
    prediction_id: int
    uri: str
    label: str
    margin: float
    status: str
    by_labeler: Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True)
class GivenAnswer:
    """Which labeler gave an answer, and the probability of its label."""

    labeler: str
    probability: float


@dataclass(frozen=True)
class NewReview:
    """A place in a queue; a random one has no gain."""

    candidate: ReviewCandidate
    reason: str
    gain: float | None = None
    stands_for: int | None = None

    @property
    def drawn(self) -> str:
        """How it was drawn."""
        return "random" if self.gain is None else "chosen"


@dataclass(frozen=True)
class QueuedClip:
    """A queued clip, the answer to judge, and how many people have decided about it."""

    review: int
    library: str
    version: int
    position: int
    drawn: str
    reason: str
    uri: str
    content_sha256: bytes
    label: str
    margin: float
    status: str
    gain: float | None
    stands_for: int | None
    answer: int
    is_open: bool
    decisions: int


def doubtful_candidates(session: Session, library: str, version: int, limit: int) -> list[ReviewCandidate]:
    """Return the least sure current answers by a library version (a row's id), unknown ones first.

    Demonstrations, clips that are gone, and contents that somebody decided about or that were drawn at random
    are left out.
    """
    return _candidates(session, _DOUBTFUL, library, version, limit)


def random_candidates(
    session: Session,
    library: str,
    version: int,
    limit: int,
    *,
    waiting: Collection[bytes] = (),
    night: Selection | None = None,
) -> list[ReviewCandidate]:
    """Return the next current answers by a library version to draw, of a night or of all its clips.

    The order depends on contents and library alone, so what is drawn is a fair sample, whatever was chosen
    and decided besides. Contents that a random review decided are passed over: they are in the sample. Those
    that wait come first.
    """
    folder = night.rstrip("/") if isinstance(night, str) else None
    uris = None if night is None or isinstance(night, str) else sorted(night)
    values = {"waiting": sorted(waiting), "folder": folder, "uris": uris}
    return _candidates(session, _RANDOM, library, version, limit, **values)


def _candidates(
    session: Session, query: Any, library: str, version: int, limit: int, **more: Any
) -> list[ReviewCandidate]:
    values = {"library": library, "version": version, "task": LABEL_STAGE, "limit": limit, **more}
    return [
        ReviewCandidate(bytes(content), answer, uri, label, margin, status, by_labeler or {})
        for content, answer, uri, label, margin, status, by_labeler in session.execute(query, values)
    ]


def reviewed_contents(session: Session, library: str) -> set[bytes]:
    """Return the contents that somebody decided about for a library, of any version."""
    return {bytes(content) for content in session.scalars(_REVIEWED, {"library": library})}


def latents_of(
    session: Session, codec_id: int, contents: Collection[bytes]
) -> dict[bytes, tuple[bytes, bytes]]:
    """Return mean and deviation of the latents of contents, without those that have none.

    They are read without the codes: long clips have many.
    """
    row = PooledLatent
    wanted = among(row.content_sha256, contents)
    found = select(row.content_sha256, row.mean, row.deviation).where(wanted, row.codec_id == codec_id)
    return {content: (mean, deviation) for content, mean, deviation in session.execute(found)}


def save_queue(session: Session, run_id: UUID, version: int, reviews: Sequence[NewReview]) -> None:
    """Write the queue of a run, in order."""
    rows = [
        {
            "demonstration_set_id": version,
            "content_sha256": one.candidate.content_sha256,
            "prediction_id": one.candidate.prediction_id,
            "uri": one.candidate.uri,
            "status": one.candidate.status,
            "position": position,
            "drawn": one.drawn,
            "gain": one.gain,
            "stands_for": one.stands_for,
            "reason": one.reason,
            "run_id": run_id,
        }
        for position, one in enumerate(reviews, start=1)
    ]
    if rows:
        session.execute(insert(QueuedReview), rows)


def has_queue(session: Session, run_id: UUID) -> bool:
    """Return whether a run has made its queue."""
    made = select(func.count()).select_from(QueuedReview).where(QueuedReview.run_id == run_id)
    return session.scalars(made).one() > 0


def queue_of_run(session: Session, run_id: UUID) -> list[QueuedClip]:
    """Return the queue that a run made, in order."""
    return [_queued(row) for row in session.execute(_OF_RUN, {"run": run_id})]


def open_queue(session: Session, library: str) -> list[QueuedClip]:
    """Return the clips of a library that wait for a decision, in order."""
    return [_queued(row) for row in session.execute(_OPEN, {"library": library})]


def queued_clips(session: Session, reviews: Collection[int]) -> list[QueuedClip]:
    """Return queued clips by their numbers; unknown numbers are left out."""
    return [_queued(row) for row in session.execute(_NUMBERED, {"reviews": sorted(reviews)})]


def given_answers(session: Session, answers: Collection[int]) -> dict[int, GivenAnswer]:
    """Return who gave stored answers, by their rows."""
    row = PredictionRow
    probability = row.probabilities[row.label].as_float()
    found = session.execute(select(row.id, row.labeler, probability).where(row.id.in_(answers)))
    return {answer: GivenAnswer(*given) for answer, *given in found}


def missing_contents(session: Session, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents that no clip has now."""
    wanted = among(Clip.content_sha256, contents)
    there = session.scalars(select(Clip.content_sha256).where(wanted, Clip.missing_since.is_(None)))
    return set(contents) - {bytes(content) for content in there if content}


def _queued(row: Any) -> QueuedClip:
    values: tuple[Any, ...] = tuple(bytes(one) if isinstance(one, memoryview) else one for one in row)
    return QueuedClip(*values)
