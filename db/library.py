"""Libraries of demonstrations: every import is a frozen version, and equal content is the same version."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from sqlalchemy import func, insert, select
from sqlalchemy.orm import Session

from db import models


class LibraryNotFound(LookupError):
    """No library of that name, or no such version of it."""


@dataclass(frozen=True)
class Demonstration:
    """One audio content and what answers it; the uris say where they were imported from.

    `label` is what it is, or the text that it says; a noisy content has its clean one as target instead.
    """

    content_sha256: bytes
    label: str | None
    uri: str
    target_content_sha256: bytes | None = None
    target_uri: str | None = None

    @property
    def said(self) -> str:
        """The label or text, which all but noisy contents have."""
        assert self.label is not None
        return self.label

    @property
    def answer(self) -> str:
        """The label, the text, or the digest of the clean content; the task tells which."""
        return self.target_content_sha256.hex() if self.target_content_sha256 else self.said

    @property
    def contents(self) -> dict[str, bytes]:
        """The contents that its prompt needs, by the uri that each was imported from."""
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
    demonstrations: tuple[Demonstration, ...]

    @property
    def contents(self) -> dict[str, bytes]:
        """All contents that its prompts need, by the uri that each was imported from."""
        return {uri: content for row in self.demonstrations for uri, content in row.contents.items()}


def import_library(
    session: Session, name: str, task: str, instruction: str | None, rows: Sequence[Demonstration]
) -> LibraryVersion:
    """The next version of the library, or its version of equal content if there is one.

    Equal means: same task, instruction, audio contents and their answers in the same order; where the audio
    lay does not count. The contents must be stored already. Raises ValueError when `rows` is empty.
    """
    if not rows:
        raise ValueError(f"library {name} has no demonstrations: a library needs at least one")
    # Two imports of one name take turns, so that each sees the version the other made.
    session.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"library {name}", 0))))
    content_hash = _content_hash(task, instruction, rows)
    same = models.DemonstrationSet.name == name
    stored = session.scalar(
        select(models.DemonstrationSet).where(same, models.DemonstrationSet.content_hash == content_hash)
    )
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
    return _with_demonstrations(session, stored)


def _content_hash(task: str, instruction: str | None, rows: Sequence[Demonstration]) -> bytes:
    pairs = [[row.content_sha256.hex(), row.answer] for row in rows]
    return hashlib.sha256(json.dumps([task, instruction, pairs]).encode()).digest()


def _insert_demonstrations(session: Session, set_id: int, rows: Sequence[Demonstration]) -> None:
    places = [{"demonstration_set_id": set_id, "ordinal": ordinal} for ordinal in range(len(rows))]
    session.execute(
        insert(models.Demonstration), [vars(row) | place for row, place in zip(rows, places, strict=True)]
    )


def get_library(session: Session, name: str, version: int | None = None) -> LibraryVersion:
    """A version of the library, the latest for None. Raises LibraryNotFound, naming what comes near."""
    query = select(models.DemonstrationSet).where(models.DemonstrationSet.name == name)
    if version is not None:
        query = query.where(models.DemonstrationSet.version == version)
    stored = session.scalar(query.order_by(models.DemonstrationSet.version.desc()).limit(1))
    if stored is None:
        raise LibraryNotFound(_not_found(session, name, version))
    return _with_demonstrations(session, stored)


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


def library_names(session: Session) -> list[str]:
    """The names of all libraries, sorted."""
    return sorted(session.scalars(select(models.DemonstrationSet.name).distinct()))


def _with_demonstrations(session: Session, stored: models.DemonstrationSet) -> LibraryVersion:
    row = models.Demonstration
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
        demonstrations=tuple(Demonstration(*values) for values in rows),
    )
