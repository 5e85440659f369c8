"""Exports that are done: the same selection is not written twice."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from uuid import UUID

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import models

Digests = Mapping[str, bytes | None]
"""The SHA-256 of each object by its uri; None where it was not recorded."""


@dataclass(frozen=True)
class Export:
    """A finished export. `sha256s` maps each written object to the hex digest of its bytes."""

    selection_key: bytes
    run_id: UUID
    uri: str
    num_rows: int
    sha256s: Mapping[str, str]

    @property
    def digests(self) -> Digests:
        """Return every object of the export: rows of former versions leave out the manifest's digest."""
        folder = self.uri.rpartition("/")[0]
        named = {f"{folder}/{name}": bytes.fromhex(digest) for name, digest in self.sha256s.items()}
        return {self.uri: None, **named}


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
    """Record an export; one that was written again takes the place of what was lost."""
    stored = insert(models.Export).values(**asdict(export))
    kept = models.Export.selection_key.name
    changed = {name: stored.excluded[name] for name in asdict(export) if name != kept}
    session.execute(
        stored.on_conflict_do_update(
            index_elements=[kept],
            set_=changed | {"created_at": func.now()},
            where=models.Export.run_id == stored.excluded.run_id,
        )
    )
