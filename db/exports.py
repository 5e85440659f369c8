"""Exports that are done: the same selection is not written twice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import models


@dataclass(frozen=True)
class Export:
    """A finished export. `sha256s` maps each written object to the hex digest of its bytes."""

    selection_key: bytes
    run_id: UUID
    uri: str
    num_rows: int
    sha256s: Mapping[str, str]


def find_export(session: Session, selection_key: bytes) -> Export | None:
    """The export of this selection, None when there is none yet."""
    stored = models.Export
    row = session.execute(
        select(stored.selection_key, stored.run_id, stored.uri, stored.num_rows, stored.sha256s).where(
            stored.selection_key == selection_key
        )
    ).one_or_none()
    return None if row is None else Export(*row)


def save_export(session: Session, export: Export) -> None:
    """Records an export; the first record of a selection stays."""
    session.execute(insert(models.Export).values(**asdict(export)).on_conflict_do_nothing())
