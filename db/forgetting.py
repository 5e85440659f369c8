"""What a forgetting covers: contents and their clips, audio made of them, and library versions with them."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    exists,
    or_,
    select,
    text,
)
from sqlalchemy.orm import Session, aliased

from db.base import among
from db.generated import IN_CONTEXT
from db.models import (
    Clip,
    Content,
    DemonstrationRow,
    DemonstrationSet,
    ExportRow,
    GeneratedAudio,
    LibraryUse,
    Promotion,
    Run,
)
from db.run_outputs import LIBRARY

HIDDEN = "forgotten"
"""Stands where a text named what was forgotten."""
_END_OF_PARTITION = re.compile(r"( \d{4}-\d\d-\d\dT\S+)?( shard \d+ of \d+)?$")
_NAMING_RUNS = text(
    """
    SELECT r.id FROM runs r WHERE EXISTS (
      SELECT FROM jsonb_path_query(jsonb_build_array(r.parameters, r.asked, r.summary), 'strict $.**') v
      WHERE jsonb_typeof(v) = 'string' AND v #>> '{}' = ANY(:names))
    OR regexp_replace(substr(r.partition_key, length(r.kind) + 2), :end_of_partition, '') = ANY(:names)
    """
)
_UNSEEN = text(
    """
    WITH listed AS MATERIALIZED (
      SELECT DISTINCT
        regexp_replace(substr(r.partition_key, length(r.kind) + 2), :end_of_partition, '') AS place
      FROM runs r WHERE r.started_at >= now() - make_interval(days => :days)
        AND r.counts ?| ARRAY['ingest.new', 'ingest.known', 'ingest.gone']
    ),
    old AS MATERIALIZED (
      SELECT DISTINCT c.content_sha256 FROM clips c
      WHERE (c.uri = :folder OR starts_with(c.uri, :folder || '/'))
        AND coalesce(c.missing_since, c.first_seen) < now() - make_interval(days => :days)
    )
    SELECT o.content_sha256, array_agg(c.uri) FROM old o JOIN clips c USING (content_sha256)
    GROUP BY o.content_sha256 HAVING NOT bool_or(
      coalesce(c.missing_since, c.first_seen) >= now() - make_interval(days => :days)
      OR (c.missing_since IS NULL AND EXISTS (
        SELECT FROM listed l WHERE c.uri = l.place OR starts_with(c.uri, l.place || '/'))))
    """
)


@dataclass(frozen=True)
class ForgottenClip:
    """A version of a clip that goes."""

    id: int
    uri: str
    version_token: str
    first_seen: datetime
    day: date


@dataclass(frozen=True)
class ForgottenAudio:
    """An object of generated audio that goes, since it was made of a content that goes."""

    uri: str
    sha256: bytes


@dataclass(frozen=True)
class Extent:
    """All that goes. `uris` are those that no clip has afterwards."""

    contents: set[bytes] = field(default_factory=set)
    clips: list[ForgottenClip] = field(default_factory=list)
    audio: set[ForgottenAudio] = field(default_factory=set)
    library_versions: dict[int, bytes] = field(default_factory=dict)
    uris: set[str] = field(default_factory=set)


def find_extent(session: Session, contents: Collection[bytes], uris: Collection[str]) -> Extent:
    """Return what goes with these contents, and with all that was ever stored under these uris.

    Audio that was made of a content and taken in as a clip goes too, with what was made of that.
    """
    known = set(contents)
    while True:
        clips = session.execute(
            select(
                Clip.id, Clip.uri, Clip.version_token, Clip.first_seen, Clip.day, Clip.content_sha256
            ).where(or_(among(Clip.content_sha256, known), among(Clip.uri, uris)))
        ).all()
        reached = known | {clip.content_sha256 for clip in clips if clip.content_sha256}
        versions = _versions_with(session, reached)
        audio = _audio_of(session, reached, versions)
        made = {one.sha256 for one in audio}
        reached |= set(session.scalars(select(Content.sha256).where(among(Content.sha256, made))))
        if reached == known:
            break
        known = reached
    gone = [ForgottenClip(*clip[:5]) for clip in clips]
    return Extent(known, gone, audio, versions, _uris_left_by(session, gone) | {one.uri for one in audio})


def _versions_with(session: Session, contents: Collection[bytes]) -> dict[int, bytes]:
    """Return the library versions with one of the contents, by id, each with its content hash."""
    row, stored = DemonstrationRow, DemonstrationSet
    shows = or_(among(row.content_sha256, contents), among(row.target_content_sha256, contents))
    shown = select(row.demonstration_set_id).where(shows)
    return dict(
        session.execute(select(stored.id, stored.content_hash).where(stored.id.in_(shown))).tuples().all()
    )


def _audio_of(
    session: Session, contents: Collection[bytes], versions: Collection[int]
) -> set[ForgottenAudio]:
    """Return the objects made of the contents: of their clips, or by a prompt that showed them."""
    stored = GeneratedAudio
    by_prompt = (stored.method == IN_CONTEXT) & stored.demonstration_set_id.in_(list(versions))
    rows = session.execute(
        select(stored.uri, stored.sha256).where(or_(among(stored.content_sha256, contents), by_prompt))
    )
    return {ForgottenAudio(uri, sha256) for uri, sha256 in rows}


def _uris_left_by(session: Session, clips: Collection[ForgottenClip]) -> set[str]:
    uris = {clip.uri for clip in clips}
    ids = [clip.id for clip in clips]
    named = among(Clip.uri, uris)
    return uris - set(session.scalars(select(Clip.uri).where(named, Clip.id.not_in(ids))))


def known_uris(session: Session, uris: Collection[str]) -> set[str]:
    """Return those of the uris that some clip has or had."""
    named = among(Clip.uri, uris)
    return set(session.scalars(select(Clip.uri).where(named)))


@dataclass(frozen=True)
class UsedVersion:
    """A library version that nights answer by, or whose answers are promoted."""

    name: str
    version: int
    task: str
    is_in_use: bool


def used_versions(session: Session, ids: Collection[int]) -> list[UsedVersion]:
    """Return those of the library versions that are in use or promoted."""
    stored, use, later = DemonstrationSet, LibraryUse, aliased(LibraryUse)
    other = aliased(DemonstrationSet)
    replaced = (
        exists()
        .where(later.id > use.id, later.demonstration_set_id == other.id, other.name == stored.name)
        .correlate(use, stored)
    )
    in_use = exists().where(use.demonstration_set_id == stored.id, ~replaced)
    promoted = exists().where(Promotion.demonstration_set_id == stored.id)
    rows = session.execute(
        select(stored.name, stored.version, stored.task, in_use)
        .where(stored.id.in_(list(ids)), or_(in_use, promoted))
        .order_by(stored.name, stored.version)
    )
    return [UsedVersion(*row) for row in rows]


def hide_names_in_runs(session: Session, names: Collection[str]) -> int:
    """Take names of what was forgotten out of the parameters and summaries of runs; return how many runs."""
    given = {"names": sorted(names), "end_of_partition": _END_OF_PARTITION.pattern}
    naming: list[UUID] = list(session.scalars(_NAMING_RUNS, given)) if names else []
    for run in session.scalars(select(Run).where(Run.id.in_(naming))):
        place = run.partition_key.removeprefix(f"{run.kind} ")
        if (end := _END_OF_PARTITION.search(place)) and place[: end.start()] in names:
            run.partition_key = f"{run.kind} {HIDDEN}{end.group()}"
        run.parameters = hidden(run.parameters, names.__contains__)
        run.asked = hidden(run.asked, names.__contains__)
        run.summary = hidden(run.summary, names.__contains__)
    session.flush()
    return len(naming)


def hidden(value: Any, is_name: Callable[[str], bool]) -> Any:
    """Return a JSON value in which texts that name something forgotten are hidden."""
    if isinstance(value, Mapping):
        return {key: hidden(one, is_name) for key, one in value.items()}
    if isinstance(value, list):
        return [hidden(one, is_name) for one in value]
    return HIDDEN if isinstance(value, str) and is_name(value) else value


def pages_showing(session: Session, versions: Collection[int]) -> set[str]:
    """Return the uris of exported pages of runs by these library versions."""
    name, stored = Run.parameters["library"].astext, DemonstrationSet
    asked = name.in_([stored.name, LIBRARY])
    pages = select(ExportRow.uri).join(Run, Run.id == ExportRow.run_id).join(stored, asked)
    return set(session.scalars(pages.where(stored.id.in_(list(versions)))))


def rewrite_export(
    session: Session,
    uri: str,
    new_key: Callable[[bytes], bytes],
    num_rows: int | None,
    files: Mapping[str, str | None],
) -> None:
    """Record that files of an export were rewritten: digests by name, None for one that is gone.

    Its key was made of rows that it no longer has, so it gets another, and no selection finds it again.
    """
    for stored in session.scalars(select(ExportRow).where(ExportRow.uri == uri)):
        stored.selection_key = new_key(stored.selection_key)
        stored.num_rows = stored.num_rows if num_rows is None else num_rows
        if stored.sha256s:
            kept = {**stored.sha256s, **files}
            stored.sha256s = {name: digest for name, digest in kept.items() if digest}
    session.flush()


def unseen_contents(session: Session, folder: str, days: int) -> dict[bytes, list[str]]:
    """Return the contents of a folder that no listing had for so many days, with the uris of all their clips.

    A listing has a clip while it lists the place of the clip and the clip is there.
    """
    given = {"folder": folder.rstrip("/"), "days": days, "end_of_partition": _END_OF_PARTITION.pattern}
    return {bytes(content): uris for content, uris in session.execute(_UNSEEN, given)}


def shown_contents(session: Session, contents: Collection[bytes]) -> set[bytes]:
    """Return those of the contents that a library version in use, or a promoted one, shows."""
    versions = _versions_with(session, contents)
    used = {(one.name, one.version) for one in used_versions(session, versions)}
    row, stored = DemonstrationRow, DemonstrationSet
    rows = session.execute(
        select(stored.name, stored.version, row.content_sha256, row.target_content_sha256)
        .join(stored, stored.id == row.demonstration_set_id)
        .where(stored.id.in_(list(versions)))
    )
    shown = {one for name, version, *both in rows if (name, version) in used for one in both}
    return shown & set(contents)


def table_names(session: Session) -> Iterator[str]:
    """Yield every table of our schemas, quoted with its schema."""
    query = text(
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c "
        "JOIN pg_namespace n ON n.oid = c.relnamespace "
        "WHERE n.nspname IN ('public', 'analytics') AND c.relkind IN ('r', 'p', 'm') ORDER BY 1"
    )
    yield from session.scalars(query)
