"""The labeler chosen for a library version and its models: rows are only added, the latest counts.

Answers name the labeler that gave them, so a choice only selects among them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import ColumnElement, func, insert, select
from sqlalchemy.orm import Session

from db.models import LabelerChoice
from db.promotions import ModelSet

ChosenBy = Literal["run", "person", "upgrade"]


@dataclass(frozen=True)
class StoredChoice:
    """A labeler by name, the calibration of its answers, and why it was chosen.

    `calibration` is None where probabilities stay as they are. `measured` is the comparison of all labelers,
    None where there was none. `upgrade` chose for library versions from before there were choices.
    """

    labeler: str
    calibration: Mapping[str, Any] | None
    reason: str
    measured: Mapping[str, Any] | None
    chosen_by: ChosenBy


def current_choice(session: Session, models: ModelSet) -> StoredChoice | None:
    """Return the labeler that is chosen for a library version and its models, if any."""
    columns = (getattr(LabelerChoice, field.name) for field in fields(StoredChoice))
    latest = select(*columns).where(_of(models)).order_by(LabelerChoice.id.desc()).limit(1)
    row = session.execute(latest).one_or_none()
    return None if row is None else StoredChoice(*row)


def add_choice(session: Session, models: ModelSet, choice: StoredChoice, run_id: UUID | None = None) -> None:
    """Choose a labeler from now on. A choice by a run names it."""
    session.execute(insert(LabelerChoice).values(**vars(choice), **vars(models), run_id=run_id))


def add_first_choice(session: Session, models: ModelSet, choice: StoredChoice, run_id: UUID) -> None:
    """Choose a labeler unless another run has chosen one."""
    lock = f"choice {models.demonstration_set_id} {models.codec_id} {models.llm_id}"
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(lock, 0))))
    if current_choice(session, models) is None:
        add_choice(session, models, choice, run_id)


def _of(models: ModelSet) -> ColumnElement[bool]:
    return (
        (LabelerChoice.demonstration_set_id == models.demonstration_set_id)
        & (LabelerChoice.codec_id == models.codec_id)
        & LabelerChoice.llm_id.is_not_distinct_from(models.llm_id)
    )
