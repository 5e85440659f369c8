"""Whatever was written about a content, forgetting leaves no row of it and every other row as it was."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from random import Random
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from db.base import Base
from db.current_answers import count_differences
from db.forgetting import find_extent
from db.models import Clip
from db.tombstones import Grave, Kind, bury, delete_forgotten, drop_unread_clips
from tests.db.rows import FOLDER, make_tokenized_clips, sha256
from tests.db.test_current_answers import CLIPS, World

CHANGED = {"tombstones", "label_motifs"}
Rows = dict[str, list[str]]


def all_rows(session: Session) -> dict[str, list[dict[str, Any]]]:
    session.expire_all()
    tables = Base.metadata.tables.items()
    return {name: [dict(row) for row in session.execute(select(table)).mappings()] for name, table in tables}


def about(row: dict[str, Any], gone: set[bytes]) -> bool:
    """Return whether a row is about one of the contents."""
    digests = {
        row.get(name) for name in ("content_sha256", "target_content_sha256", "sha256", "other_sha256")
    }
    return bool(digests & gone)


def texts(rows: list[dict[str, Any]]) -> list[str]:
    return sorted(map(repr, rows))


def graves_of(contents: set[bytes]) -> dict[bytes, bytes]:
    """Return a stand-in for the keyed hash of each content."""
    return {one: sha256(f"keyed {one.hex()}") for one in contents}


def bury_all(session: Session, graves: Iterable[bytes], kind: Kind) -> None:
    bury(session, [Grave(keyed, kind, sha256("check"), "somebody") for keyed in graves])


def bury_versions(session: Session, clip_ids: Iterable[int]) -> list[bytes]:
    """Bury a version for each clip, and return their hashes."""
    graves = [sha256(f"version {one}") for one in clip_ids]
    bury_all(session, graves, "version")
    return graves


def forget(session: Session, contents: set[bytes]) -> None:
    extent, graves = find_extent(session, contents, ()), graves_of(contents)
    bury_all(session, graves.values(), "content")
    clip_ids = [clip.id for clip in extent.clips]
    versions = {version: sha256(f"new {version}") for version in extent.library_versions}
    delete_forgotten(session, graves, bury_versions(session, clip_ids), clip_ids, versions)


@pytest.mark.parametrize("seed", range(6))
def test_only_the_rows_of_forgotten_contents_go(owner_session: Session, seed: int) -> None:
    random = Random(seed)
    world = World(owner_session, random)
    for _ in range(30):
        world.happen()
    owner_session.commit()
    before = all_rows(owner_session)
    gone = {sha256(name) for name in random.sample(CLIPS, random.randint(1, len(CLIPS)))}
    forget(owner_session, gone)
    owner_session.commit()
    after = all_rows(owner_session)
    for table, rows in after.items():
        if table not in CHANGED:
            assert texts(rows) == texts([row for row in before[table] if not about(row, gone)]), table
    assert count_differences(owner_session) == 0
    for digest in gone:
        assert repr(digest) not in repr(after)
    forget(owner_session, gone)
    owner_session.commit()
    assert texts(all_rows(owner_session)["tombstones"]) == texts(after["tombstones"])


def test_nothing_is_deleted_without_a_tombstone(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    graves, clip_ids = graves_of({sha256("a.wav")}), list(session.scalars(select(Clip.id)))
    for buried, clips in ((graves, ()), ({}, clip_ids)):
        with refused(session, "nothing is forgotten without a tombstone"):
            delete_forgotten(session, buried, (), clips, {})
    bury_all(session, graves.values(), "content")
    with refused(session, "nothing is forgotten without a tombstone"):
        delete_forgotten(session, graves, (), clip_ids, {})
    with refused(session, "nothing is forgotten without a tombstone"):
        drop_unread_clips(session, clip_ids, graves.values())


def test_a_library_version_without_what_is_forgotten_stays_as_it_is(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    graves = graves_of({sha256("a.wav")})
    bury_all(session, graves.values(), "content")
    with refused(session, "stays as it is"):
        delete_forgotten(session, graves, (), (), {1: sha256("new")})


@contextmanager
def refused(session: Session, message: str) -> Iterator[None]:
    with pytest.raises(DBAPIError, match=message), session.begin_nested():
        yield


def test_a_uri_goes_with_all_contents_it_ever_had_and_their_other_uris(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav")
    extent = find_extent(session, (), [f"{FOLDER}/a.wav"])
    assert (extent.contents, extent.uris) == ({sha256("a.wav")}, {f"{FOLDER}/a.wav"})


def test_a_clip_that_was_read_is_not_dropped_as_unread(session: Session) -> None:
    make_tokenized_clips(session, "a.wav")
    ids = list(session.scalars(select(Clip.id)))
    drop_unread_clips(session, ids, bury_versions(session, ids))
    assert list(session.scalars(select(Clip.id))) == ids
