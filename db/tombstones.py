"""Tombstones of what was forgotten: keyed hashes alone, which tell nothing to whoever lacks the key."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import ARRAY, BigInteger, Integer, LargeBinary, cast, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from db.base import among
from db.models import Tombstone

Kind = Literal["content", "uri", "version"]


@dataclass(frozen=True)
class Grave:
    """What a tombstone says: the hash by a key, of what kind of thing, by which key and by whom."""

    keyed_hash: bytes
    kind: Kind
    key_check: bytes
    forgotten_by: str


def stored_key_check(session: Session) -> bytes | None:
    """Return what tells the key of all stored tombstones, None before anything was forgotten."""
    return session.scalar(select(Tombstone.key_check).limit(1))


def buried(session: Session, hashes: Collection[bytes]) -> set[bytes]:
    """Return those of the hashes that have a tombstone."""
    wanted = among(Tombstone.keyed_hash, hashes)
    return set(session.scalars(select(Tombstone.keyed_hash).where(wanted)))


def bury(session: Session, graves: Collection[Grave]) -> None:
    """Set tombstones; those that stand already stay as they are."""
    rows = [vars(grave) for grave in sorted(graves, key=lambda grave: grave.keyed_hash)]
    if rows:
        session.execute(insert(Tombstone).on_conflict_do_nothing(), rows)


def drop_unread_clips(session: Session, clip_ids: Collection[int], graves: Collection[bytes]) -> None:
    """Delete clips that were listed and never read, with their quarantine rows.

    `graves` are the hashes of the tombstones of their versions.
    """
    ids, hashes = cast(sorted(clip_ids), ARRAY(BigInteger)), cast(sorted(graves), ARRAY(LargeBinary))
    session.execute(select(func.drop_unread_clips(ids, hashes)))


def delete_forgotten(
    session: Session,
    graves: Mapping[bytes, bytes],
    other_graves: Collection[bytes],
    clip_ids: Collection[int],
    new_hashes: Mapping[int, bytes],
) -> Mapping[str, int]:
    """Delete all rows about contents, and these clips; return the deleted rows by table.

    `graves` are the hashes of the contents' tombstones by content, `other_graves` those of uris and versions
    that go with them. `new_hashes` are the content hashes that the library versions with one of the contents
    get, by id.
    """
    contents = sorted(graves)
    counts: Mapping[str, int] = session.execute(
        select(
            func.forget_contents(
                cast(contents, ARRAY(LargeBinary)),
                cast(sorted(clip_ids), ARRAY(BigInteger)),
                cast([graves[one] for one in contents] + sorted(other_graves), ARRAY(LargeBinary)),
                cast(list(new_hashes), ARRAY(Integer)),
                cast(list(new_hashes.values()), ARRAY(LargeBinary)),
            )
        )
    ).scalar_one()
    return counts
