"""Exports, recorded before and after their files are written: no selection is exported twice."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db import models

Digests = Mapping[str, bytes | None]
"""The SHA-256 of each object by its uri; None if it was not recorded."""


@dataclass(frozen=True)
class Export:
    """An export, with its files below runs/<run_id>/ of the results.

    Until it is complete, some files may be missing. `sha256s` maps each written object to the hex digest of
    its bytes.
    """

    selection_key: bytes
    run_id: UUID
    uri: str
    num_rows: int
    sha256s: Mapping[str, str] = field(default_factory=dict)
    is_complete: bool = False

    @property
    def digests(self) -> Digests:
        """Digests of every object of the export; rows of former versions have none for the manifest."""
        folder = self.uri.rpartition("/")[0]
        named = {f"{folder}/{name}": bytes.fromhex(digest) for name, digest in self.sha256s.items()}
        return {self.uri: None, **named}


def exports(*conditions: ColumnElement[bool]) -> Select[Any]:
    """Return a query for the columns of Export."""
    stored = models.ExportRow
    columns = stored.selection_key, stored.run_id, stored.uri, stored.num_rows, stored.sha256s
    return select(*columns, stored.completed_at.is_not(None)).where(*conditions)


def find_export(session: Session, selection_key: bytes) -> Export | None:
    """Return the export of this selection, complete or only begun, or None."""
    row = session.execute(exports(models.ExportRow.selection_key == selection_key)).one_or_none()
    return None if row is None else Export(*row)


def begin_export(session: Session, export: Export) -> Export:
    """Record an export before its files are written, so that no object lacks a row with its folder.

    Returns the export to write: an earlier one of the selection is kept, and its files are written again.
    """
    stored = models.ExportRow
    session.execute(
        insert(stored)
        .values(
            selection_key=export.selection_key,
            run_id=export.run_id,
            uri=export.uri,
            num_rows=export.num_rows,
            sha256s={},
        )
        .on_conflict_do_nothing()
    )
    return Export(*session.execute(exports(stored.selection_key == export.selection_key)).one())


def complete_export(session: Session, selection_key: bytes, sha256s: Mapping[str, str]) -> None:
    """Record that all objects of an export are written."""
    stored = models.ExportRow
    session.execute(
        update(stored)
        .where(stored.selection_key == selection_key)
        .values(sha256s=dict(sha256s), completed_at=func.now())
    )
