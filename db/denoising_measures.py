"""What methods of denoising were measured at on the pairs of a library version, once per method and pair."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.bulk_insert import insert_new
from db.models import DenoisingMeasure


@dataclass(frozen=True)
class PairMeasure:
    """Measures of a method's answer to the noisy content of a pair, against its clean one.

    `stoi` is None for less than 0.4 s of speech; `si_sdr` is in dB.
    """

    content_sha256: bytes
    method: str
    fingerprint: str
    stoi: float | None
    si_sdr: float


def save_measures(
    session: Session, run_id: UUID, demonstration_set_id: int, measures: Sequence[PairMeasure]
) -> int:
    """Record the measures that are new, and return their number."""
    ordered = sorted(measures, key=lambda one: (one.content_sha256, one.method, one.fingerprint))
    fixed = {"demonstration_set_id": demonstration_set_id, "run_id": run_id}
    return insert_new(session, DenoisingMeasure, [vars(one) | fixed for one in ordered])


def get_measures(session: Session, demonstration_set_id: int) -> list[PairMeasure]:
    """Return all measures on the pairs of a library version, in the order of their recording."""
    stored = DenoisingMeasure
    rows = session.execute(
        select(stored.content_sha256, stored.method, stored.fingerprint, stored.stoi, stored.si_sdr)
        .where(stored.demonstration_set_id == demonstration_set_id)
        .order_by(stored.id)
    )
    return [PairMeasure(*row) for row in rows]
