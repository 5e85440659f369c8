"""Clips: the current version of each audio object, and the clips that wait for a stage."""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    LargeBinary,
    ScalarSelect,
    TableValuedAlias,
    Text,
    and_,
    any_,
    cast,
    column,
    exists,
    func,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session
from sqlalchemy.types import TypeEngine

from db.base import among
from db.bulk_insert import insert_new
from db.listing import KnownVersion, ListingComparison, ListingCounts
from db.models import Clip, Embedding, PooledLatent, QuarantineRow, TokenSequence, WindowEmbeddings
from db.object_version import ObjectVersion
from db.retries import is_due

Selection = str | Collection[str]
"""The clips of a request: a folder or a collection of uris.

A string is a folder (s3://bucket/day, with or without a final slash): everything in it, and the object of
that very name.
"""


ROWS_AT_A_TIME = 1_000
"""Rows converted together: in the driver's form they take several times the memory."""

TOKENIZE_STAGE = "tokenize"
"""The stage that reads clips.

A clip that it cannot use is unusable for all stages, unlike those of others.
"""

LABEL_STAGE = "label"
"""The stage that labels; it quarantines a clip because of its stored tokens."""


@dataclass(frozen=True, slots=True)
class ClipToTokenize:
    """A current clip with what is needed to read its object. `size` in bytes."""

    id: int
    uri: str
    version_token: str
    size: int


@dataclass(frozen=True, slots=True)
class ClipWithTokens:
    """A current clip whose content has tokens of some codec."""

    id: int
    uri: str
    content_sha256: bytes


def in_selection(selection: Selection) -> ColumnElement[bool]:
    """Return the condition for current versions of the selected uris."""
    return Clip.missing_since.is_(None) & _uri_matches(selection)


def _uri_matches(selection: Selection) -> ColumnElement[bool]:
    if isinstance(selection, str):
        folder = selection.rstrip("/")
        return (Clip.uri == folder) | func.starts_with(Clip.uri, folder + "/")
    return among(Clip.uri, selection)


def _contains(selection: Selection, uri: str) -> bool:
    if isinstance(selection, str):
        folder = selection.rstrip("/")
        return uri == folder or uri.startswith(folder + "/")
    return uri in selection


def add_clips(
    session: Session,
    listed: Iterable[ObjectVersion],
    selection: Selection,
    *,
    allow_loss: bool = False,
    find_forgotten: Callable[[Collection[ObjectVersion]], set[ObjectVersion]] = lambda new: set(),
) -> ListingCounts:
    """Record a complete listing of a folder or of uris: exactly the listed versions become the current ones.

    A version that is not in the listing gets `missing_since`, whether its object is gone or was replaced; one
    that is back loses it. Objects that could not be listed, and all below them, do not change. A listing
    without changes writes nothing. New versions that were forgotten are left out.

    Raises ValueError for an object outside the selection, since everything in the selection that is not
    listed counts as gone, and MostClipsLost, unless that is allowed.
    """
    comparison = ListingComparison(_versions_of(session, selection))
    for clip in listed:
        if not _contains(selection, clip.uri):
            raise ValueError(f"{clip.uri} was listed but is outside {selection}")
        comparison.take(clip)
    comparison.end()
    comparison.leave_out(find_forgotten(comparison.new))
    if not allow_loss:
        comparison.check_loss(selection)
    _set_missing(session, comparison.missing, func.now())
    _set_missing(session, comparison.back, None)
    _set_version_tokens(session, comparison.upgraded)
    insert_new(session, Clip, [_row(clip) for clip in sorted(comparison.new, key=lambda clip: clip.uri)])
    return comparison.counts


def _row(clip: ObjectVersion) -> dict[str, object]:
    return {
        "uri": clip.uri,
        "version_token": clip.version_token,
        "size": clip.size,
        "last_modified": clip.last_modified,
    }


def _versions_of(session: Session, selection: Selection) -> dict[tuple[str, str], KnownVersion]:
    rows = session.execute(
        select(Clip.uri, Clip.version_token, Clip.id, Clip.missing_since.is_not(None)).where(
            _uri_matches(selection)
        )
    )
    return {(uri, token): KnownVersion(clip_id, is_missing) for uri, token, clip_id, is_missing in rows}


def _in_order(clip_ids: Iterable[int]) -> ScalarSelect[int]:
    """Return ids of rows locked in ascending order, so that two writers wait instead of deadlocking."""
    ids = cast(sorted(clip_ids), ARRAY(BigInteger))
    return select(Clip.id).where(Clip.id == any_(ids)).order_by(Clip.id).with_for_update().scalar_subquery()


def _set_missing(session: Session, clip_ids: Collection[int], since: ColumnElement[datetime] | None) -> None:
    if clip_ids:
        session.execute(update(Clip).where(Clip.id.in_(_in_order(clip_ids))).values(missing_since=since))


def _set_version_tokens(session: Session, tokens: Mapping[int, str]) -> None:
    clip_ids = sorted(tokens)
    for start in range(0, len(clip_ids), ROWS_AT_A_TIME):
        part = {clip_id: tokens[clip_id] for clip_id in clip_ids[start : start + ROWS_AT_A_TIME]}
        upgraded = _by_id(part, Text())
        session.execute(
            update(Clip)
            .where(Clip.id == upgraded.c.id, Clip.id.in_(_in_order(part)))
            .values(version_token=upgraded.c.value)
        )


def clip_uris(session: Session, selection: Selection) -> list[str]:
    """Return the uris of the selected current clips, sorted."""
    return list(session.scalars(select(Clip.uri).where(in_selection(selection)).order_by(Clip.uri)))


def count_clips(session: Session, selection: Selection) -> int:
    """Return the number of selected current clips."""
    return session.scalars(select(func.count()).select_from(Clip).where(in_selection(selection))).one()


def uris_modified_between(
    session: Session, selection: Selection, start: datetime, end: datetime
) -> list[str]:
    """Return the uris of the selected current clips last modified from `start` to before `end`."""
    modified = (Clip.last_modified >= start) & (Clip.last_modified < end)
    return list(session.scalars(select(Clip.uri).where(in_selection(selection), modified).order_by(Clip.uri)))


def shard_uris(session: Session, selection: Selection, number: int, count: int) -> list[str]:
    """Return the uris of the selected current clips in shard `number` of 1 to `count`, sorted.

    The shard depends on the uri alone, so it is the same at any time and on any machine.
    """
    digest = func.sha256(func.convert_to(Clip.uri, "UTF8"))
    drawn = func.get_byte(digest, 0) * 256 + func.get_byte(digest, 1)
    mine = drawn % count == number - 1
    return list(session.scalars(select(Clip.uri).where(in_selection(selection), mine).order_by(Clip.uri)))


def _has(stored: type[TokenSequence] | type[PooledLatent], codec_id: int) -> ColumnElement[bool]:
    return exists().where(stored.content_sha256 == Clip.content_sha256, stored.codec_id == codec_id)


def _has_embedding(model_id: int) -> ColumnElement[bool]:
    return _is_embedded(Embedding, model_id)


def _has_windows(model_id: int) -> ColumnElement[bool]:
    return _is_embedded(WindowEmbeddings, model_id)


def _embedded(embeddings: Collection[int], windows: Collection[int]) -> list[ColumnElement[bool]]:
    return [*map(_has_embedding, embeddings), *map(_has_windows, windows)]


def _is_embedded(stored: type[Embedding] | type[WindowEmbeddings], model_id: int) -> ColumnElement[bool]:
    return exists().where(stored.content_sha256 == Clip.content_sha256, stored.embedding_model_id == model_id)


def _is_quarantined(*stages: str) -> ColumnElement[bool]:
    return exists().where(*_open_row(TOKENIZE_STAGE, *stages))


def _open_row(*stages: str) -> tuple[ColumnElement[bool], ...]:
    """Return conditions on the quarantine rows that hold a clip back now."""
    row = QuarantineRow
    return row.clip_id == Clip.id, row.stage.in_(stages), row.resolved_at.is_(None), ~is_due()


_TO_READ = (Clip.id, Clip.uri, Clip.version_token, Clip.size)


def clips_to_tokenize(
    session: Session,
    selection: Selection,
    codec_id: int,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> list[ClipToTokenize]:
    """Return current clips without tokens and latent of the codec, except quarantined ones, in uri order.

    Clips without an embedding of each of these models, or without their windows, are included.
    """
    has = (_has(PooledLatent, codec_id), *_embedded(embedding_models, window_models))
    lacks = [~one for one in has]
    rows = session.execute(
        select(*_TO_READ).where(in_selection(selection), or_(*lacks), ~_is_quarantined()).order_by(Clip.uri)
    ).yield_per(ROWS_AT_A_TIME)
    return [ClipToTokenize(*row) for row in rows]


def clips_with_content(session: Session, content_sha256: bytes) -> list[ClipToTokenize]:
    """Return the current clips that had this content when they were read, in uri order."""
    is_current = Clip.missing_since.is_(None)
    rows = session.execute(
        select(*_TO_READ).where(Clip.content_sha256 == content_sha256, is_current).order_by(Clip.uri)
    )
    return [ClipToTokenize(*row) for row in rows]


def last_clip_read(session: Session, selection: Selection) -> ClipToTokenize | None:
    """Return the newest of the selected current clips that has been read, or None."""
    was_read = Clip.content_sha256.is_not(None)
    row = session.execute(
        select(*_TO_READ).where(in_selection(selection), was_read).order_by(Clip.id.desc()).limit(1)
    ).first()
    return ClipToTokenize(*row) if row else None


def clips_with_tokens(
    session: Session, selection: Selection, codec_id: int, *stages: str
) -> list[ClipWithTokens]:
    """Return current clips with tokens of the codec that these stages can use, in uri order."""
    return _clips_with(session, selection, _has(TokenSequence, codec_id), *stages)


def clips_with_latents(
    session: Session,
    selection: Selection,
    codec_id: int,
    *stages: str,
    embedding_models: Collection[int] = (),
) -> list[ClipWithTokens]:
    """Return those of `clips_with_tokens` that also have a latent, and an embedding of each of the models."""
    stored = and_(_has(PooledLatent, codec_id), *map(_has_embedding, embedding_models))
    return _clips_with(session, selection, stored, *stages)


def _clips_with(
    session: Session, selection: Selection, stored: ColumnElement[bool], *stages: str
) -> list[ClipWithTokens]:
    rows = session.execute(
        select(Clip.id, Clip.uri, Clip.content_sha256)
        .where(in_selection(selection), stored, ~_is_quarantined(*stages))
        .order_by(Clip.uri)
    ).yield_per(ROWS_AT_A_TIME)
    return [ClipWithTokens(clip_id, uri, sha256) for clip_id, uri, sha256 in rows if sha256 is not None]


def link_contents(session: Session, contents: Mapping[int, bytes]) -> None:
    """Set the stored content of each clip id."""
    if not contents:
        return
    links = _by_id(contents, LargeBinary())
    session.execute(
        update(Clip)
        .where(Clip.id == links.c.id, Clip.id.in_(_in_order(contents)))
        .where(Clip.content_sha256.is_distinct_from(links.c.value))
        .values(content_sha256=links.c.value)
    )


def _by_id(values: Mapping[int, Any], kind: TypeEngine[Any]) -> TableValuedAlias:
    """Return the values as a table of `id` and `value`."""
    ids, column_values = cast(list(values), ARRAY(BigInteger)), cast(list(values.values()), ARRAY(kind))
    table = func.unnest(ids, column_values)
    return table.table_valued(column("id", BigInteger), column("value", kind), name="by_id").render_derived()


@dataclass(frozen=True)
class StoredVersion:
    """A version of a clip. `reason` says why it waits for replay, or is None."""

    uri: str
    version_token: str
    last_modified: datetime
    is_current: bool
    content_sha256: bytes | None
    is_tokenized: bool
    reason: str | None


def stored_versions(
    session: Session,
    selection: Selection,
    codec_id: int,
    *stages: str,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> list[StoredVersion]:
    """Return all versions of the selected uris, in uri order.

    Tokenized are those with tokens, latent and an embedding, or windows, of each of the models. The reason is
    that of the tokenizing stage or of one of these stages.
    """
    is_tokenized = and_(_has(PooledLatent, codec_id), *_embedded(embedding_models, window_models))
    rows = session.execute(
        select(
            Clip.uri,
            Clip.version_token,
            Clip.last_modified,
            Clip.missing_since.is_(None),
            Clip.content_sha256,
            is_tokenized,
            select(QuarantineRow.reason)
            .where(*_open_row(TOKENIZE_STAGE, *stages))
            .limit(1)
            .scalar_subquery(),
        )
        .where(_uri_matches(selection))
        .order_by(Clip.uri, Clip.id)
    )
    return [StoredVersion(*row) for row in rows]
