"""Libraries of demonstrations: every import is a frozen version, and equal content is the same version.

One version of a library is in use: the first one, until another is put into use.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from difflib import get_close_matches

from sqlalchemy import Select, func, insert, select
from sqlalchemy.orm import Session

from db import models


class LibraryNotFound(LookupError):
    """No library of that name, or no such version of it."""


@dataclass(frozen=True)
class LibraryDemonstration:
    """An audio content and its answer; the uris are those of the import.

    `label` is the label, or the spoken text. A noisy content has its clean one as target instead.
    """

    content_sha256: bytes
    label: str | None
    uri: str
    target_content_sha256: bytes | None = None
    target_uri: str | None = None

    @property
    def label_or_text(self) -> str:
        """Label or text, for all except noisy contents."""
        assert self.label is not None
        return self.label

    @property
    def answer(self) -> str:
        """Label, text, or digest of the clean content, depending on the task."""
        return self.target_content_sha256.hex() if self.target_content_sha256 else self.label_or_text

    @property
    def contents(self) -> dict[str, bytes]:
        """Contents needed by its prompt, by the uri of their import."""
        if self.target_uri is None or self.target_content_sha256 is None:
            return {self.uri: self.content_sha256}
        return {self.uri: self.content_sha256, self.target_uri: self.target_content_sha256}


@dataclass(frozen=True)
class LibraryVersion:
    """A frozen version with its demonstrations in prompt order."""

    id: int
    name: str
    version: int
    task: str
    instruction: str | None
    content_hash: bytes
    demonstrations: tuple[LibraryDemonstration, ...]

    @property
    def contents(self) -> dict[str, bytes]:
        """All contents needed by its prompts, by the uri of their import."""
        return {uri: content for row in self.demonstrations for uri, content in row.contents.items()}


def import_library(
    session: Session,
    name: str,
    task: str,
    instruction: str | None,
    rows: Sequence[LibraryDemonstration],
    *,
    promote: bool = False,
) -> LibraryVersion:
    """Return the next version of the library, or its version of equal content if there is one.

    The first version is in use at once, a later one if it is promoted. Equal means: same task, instruction,
    audio contents and answers in the same order; the uris do not count. The contents must be stored already.
    Raises ValueError when `rows` is empty.
    """
    if not rows:
        raise ValueError(f"library {name} has no demonstrations: a library needs at least one")
    _take_turn(session, name)
    content_hash = _content_hash(task, instruction, rows)
    same = models.DemonstrationSet.name == name
    stored = session.scalar(_of_content(name, content_hash))
    if stored is None:
        latest = session.scalar(select(func.max(models.DemonstrationSet.version)).where(same)) or 0
        stored = models.DemonstrationSet(
            name=name,
            version=latest + 1,
            task=task,
            instruction=instruction,
            content_hash=content_hash,
        )
        session.add(stored)
        session.flush()
        _insert_demonstrations(session, stored.id, rows)
    if promote or version_in_use(session, name) is None:
        _put_into_use(session, stored)
    return _with_demonstrations(session, stored)


def find_library(
    session: Session, name: str, task: str, instruction: str | None, rows: Sequence[LibraryDemonstration]
) -> LibraryVersion | None:
    """Return the version of equal content, or None."""
    stored = session.scalar(_of_content(name, _content_hash(task, instruction, rows)))
    return None if stored is None else _with_demonstrations(session, stored)


def use_library(session: Session, name: str, version: int) -> LibraryVersion:
    """Make a bare name mean this version from now on. Raises LibraryNotFound."""
    _take_turn(session, name)
    stored = _get_stored(session, name, version)
    _put_into_use(session, stored)
    return _with_demonstrations(session, stored)


def version_in_use(session: Session, name: str) -> int | None:
    """Return the version that the bare name means, or None for an unknown library."""
    return session.scalar(_uses(name).with_only_columns(models.DemonstrationSet.version))


def previous_version_in_use(session: Session, version: LibraryVersion) -> LibraryVersion | None:
    """Return the last other version of the library that was in use, or None."""
    others = _uses(version.name).where(models.DemonstrationSet.version != version.version)
    stored = session.scalar(others)
    return None if stored is None else _with_demonstrations(session, stored)


def _take_turn(session: Session, name: str) -> None:
    """Wait for other changes of this library, so that each sees the result of the previous one."""
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"library {name}", 0))))


def _put_into_use(session: Session, stored: models.DemonstrationSet) -> None:
    if version_in_use(session, stored.name) != stored.version:
        session.add(models.LibraryUse(demonstration_set_id=stored.id))
        session.flush()


def _of_content(name: str, content_hash: bytes) -> Select[tuple[models.DemonstrationSet]]:
    stored = models.DemonstrationSet
    return select(stored).where(stored.name == name, stored.content_hash == content_hash)


def _uses(name: str) -> Select[tuple[models.DemonstrationSet]]:
    """Return a query for the version in use."""
    use, stored = models.LibraryUse, models.DemonstrationSet
    return (
        select(stored)
        .join(use, use.demonstration_set_id == stored.id)
        .where(stored.name == name)
        .order_by(use.id.desc())
        .limit(1)
    )


def _content_hash(task: str, instruction: str | None, rows: Sequence[LibraryDemonstration]) -> bytes:
    pairs = [[row.content_sha256.hex(), row.answer] for row in rows]
    return hashlib.sha256(json.dumps([task, instruction, pairs]).encode()).digest()


def _insert_demonstrations(session: Session, set_id: int, rows: Sequence[LibraryDemonstration]) -> None:
    places = [{"demonstration_set_id": set_id, "ordinal": ordinal} for ordinal in range(len(rows))]
    session.execute(
        insert(models.DemonstrationRow), [vars(row) | place for row, place in zip(rows, places, strict=True)]
    )


def get_library(session: Session, name: str, version: int | None = None) -> LibraryVersion:
    """Return a version of the library (None: the one in use).

    Raises LibraryNotFound, with the nearest name.
    """
    return _with_demonstrations(session, _get_stored(session, name, version))


def _get_stored(session: Session, name: str, version: int | None) -> models.DemonstrationSet:
    exact = select(models.DemonstrationSet).where(
        models.DemonstrationSet.name == name, models.DemonstrationSet.version == version
    )
    stored = session.scalar(_uses(name) if version is None else exact)
    if stored is None:
        raise LibraryNotFound(_not_found(session, name, version))
    return stored


def _not_found(session: Session, name: str, version: int | None) -> str:
    versions = session.scalars(
        select(models.DemonstrationSet.version).where(models.DemonstrationSet.name == name)
    ).all()
    if versions:
        return f"library {name} has no version {version}: its versions are 1 to {max(versions)}"
    names = library_names(session)
    if near := get_close_matches(name, names, n=1):
        return f"there is no library {name}: did you mean {near[0]}?"
    return f"there is no library {name}: " + (
        f"there are {', '.join(names)}" if names else "import one first"
    )


@dataclass(frozen=True)
class VersionSummary:
    """A version with the number of its demonstrations."""

    name: str
    version: int
    task: str
    created_at: datetime
    demonstrations: int
    is_in_use: bool


def list_versions(session: Session) -> list[VersionSummary]:
    """Return the versions of all libraries, by name, the newest first."""
    stored, shown, use = models.DemonstrationSet, models.DemonstrationRow, models.LibraryUse
    count = select(func.count()).where(shown.demonstration_set_id == stored.id).scalar_subquery()
    latest = (
        select(use.demonstration_set_id)
        .join(stored, stored.id == use.demonstration_set_id)
        .distinct(stored.name)
        .order_by(stored.name, use.id.desc())
    )
    rows = session.execute(
        select(
            stored.name, stored.version, stored.task, stored.created_at, count, stored.id.in_(latest)
        ).order_by(stored.name, stored.version.desc())
    )
    return [VersionSummary(*row) for row in rows]


def library_names(session: Session) -> list[str]:
    """Return the names of all libraries, sorted."""
    return sorted(session.scalars(select(models.DemonstrationSet.name).distinct()))


def _with_demonstrations(session: Session, stored: models.DemonstrationSet) -> LibraryVersion:
    row = models.DemonstrationRow
    rows = session.execute(
        select(row.content_sha256, row.label, row.uri, row.target_content_sha256, row.target_uri)
        .where(row.demonstration_set_id == stored.id)
        .order_by(row.ordinal)
    )
    return LibraryVersion(
        id=stored.id,
        name=stored.name,
        version=stored.version,
        task=stored.task,
        instruction=stored.instruction,
        content_hash=stored.content_hash,
        demonstrations=tuple(LibraryDemonstration(*values) for values in rows),
    )
