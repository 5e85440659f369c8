"""Contents that were read before today's checks: which are suspect, and how to settle them."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from sqlalchemy import (
    ARRAY,
    BigInteger,
    ColumnElement,
    Double,
    LargeBinary,
    Select,
    SmallInteger,
    and_,
    any_,
    case,
    cast,
    column,
    func,
    not_,
    or_,
    select,
    union,
    update,
)
from sqlalchemy.orm import InstrumentedAttribute, Session

from db.clips import ClipToTokenize, Selection, in_selection
from db.models import (
    NOT_FINITE,
    Clip,
    Content,
    DemonstrationRow,
    DemonstrationSet,
    GeneratedAudio,
    PooledLatent,
    PredictionRow,
    Run,
    TokenSequence,
)
from db.retractions import Answers
from db.run_outputs import LIBRARY

FORMATS_WITH_CHECKED_LENGTH = ("WAV", "WAVEX", "RF64", "AIFF")
"""Formats whose promised length was always checked."""
MAX_PEAK = 10 ** (30 / 20)
"""30 dB over full scale."""
MAX_LEVEL_SPREAD = 1
"""Range in tenths of dB of the levels of a clip that is only a constant offset."""
BAD_LATENT = "latents that are not finite"
"""The one kind that reading alone does not reveal."""


@dataclass(frozen=True)
class Suspect:
    """A current clip whose content was never checked, with its stored facts; `kind` says why."""

    clip: ClipToTokenize
    content_sha256: bytes
    kind: str
    num_samples: int
    peak: float


class AudioFacts(Protocol):
    """The facts of a content that decoding finds."""

    @property
    def sample_rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def num_samples(self) -> int: ...
    @property
    def format(self) -> str: ...
    @property
    def peak(self) -> float: ...


@dataclass(frozen=True)
class SuspectCount:
    """The number of contents suspect for one reason, and the total size of their objects."""

    kind: str
    contents: int
    size: int


@dataclass(frozen=True)
class RetractedAnswer:
    """The request of a retracted answer of a current clip: NAME@VERSION and the run's parameters."""

    uri: str
    library: str
    parameters: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class RetractedAudio:
    """The request of retracted audio: for a text, or for a current noisy clip by its uri."""

    task: str
    method: str
    text: str | None
    uri: str | None
    library: str
    parameters: tuple[tuple[str, Any], ...]


def suspect_contents(session: Session, selection: Selection, codec_id: int) -> list[Suspect]:
    """Return a current clip of each suspect content of the selection, in uri order."""
    found = _suspects(selection, codec_id).subquery()
    rows = session.execute(select(found).order_by(found.c.uri))
    return [Suspect(ClipToTokenize(*row[:4]), *row[4:]) for row in rows]


def count_suspects(session: Session, selection: Selection, codec_id: int) -> list[SuspectCount]:
    """Return the number and size of the suspect contents by kind, the most frequent first."""
    found = _suspects(selection, codec_id).subquery()
    number, size = func.count(), cast(func.sum(found.c.size), BigInteger)
    rows = session.execute(
        select(found.c.kind, number, size).group_by(found.c.kind).order_by(number.desc(), found.c.kind)
    )
    return [SuspectCount(*row) for row in rows]


def _suspects(selection: Selection, codec_id: int) -> Select[Any]:
    tokens, latent = TokenSequence, PooledLatent
    return (
        select(
            *(Clip.id, Clip.uri, Clip.version_token, Clip.size),
            *(Content.sha256, _kind().label("kind"), Content.num_samples, Content.peak),
        )
        .join(Content, Content.sha256 == Clip.content_sha256)
        .outerjoin(tokens, and_(tokens.content_sha256 == Content.sha256, tokens.codec_id == codec_id))
        .outerjoin(latent, and_(latent.content_sha256 == Content.sha256, latent.codec_id == codec_id))
        .where(in_selection(selection), Content.checks == 0, _kind().is_not(None))
        .distinct(Content.sha256)
        .order_by(Content.sha256, Clip.uri)
    )


def _kind() -> ColumnElement[str | None]:
    """Return why a content is suspect, null if no fixed defect can have affected it."""
    return case(
        (_has_bad_latent(), BAD_LATENT),
        (Content.peak > MAX_PEAK, "level far over full scale"),
        (not_(Content.format.in_(FORMATS_WITH_CHECKED_LENGTH)), "may have been read in part"),
        (Content.channels > 1, "channels that may cancel"),
        (_has_constant_level(), "offset without sound"),
        (func.starts_with(Clip.uri, "s3://"), "download that was not compared"),
        else_=None,
    )


def _has_bad_latent() -> ColumnElement[bool]:
    """Return whether a number of the latent is infinite or NaN."""
    return or_(_has_special_number(PooledLatent.mean), _has_special_number(PooledLatent.deviation))


def _has_special_number(halves: InstrumentedAttribute[bytes]) -> ColumnElement[bool]:
    return func.encode(halves, "hex").regexp_match(NOT_FINITE)


def _has_constant_level() -> ColumnElement[bool]:
    """Return whether the levels are constant, leaving out the last code, which may span zeros after the
    end.
    """
    levels = TokenSequence.levels
    ordinal = func.unnest(levels).table_valued(column("level"), with_ordinality="place").render_derived()
    spread = (
        select(func.max(ordinal.c.level) - func.min(ordinal.c.level))
        .select_from(ordinal)
        .where(or_(ordinal.c.place < func.cardinality(levels), ordinal.c.place == 1))
        .scalar_subquery()
    )
    return spread <= MAX_LEVEL_SPREAD


def confirm_contents(session: Session, contents: Collection[bytes]) -> None:
    """Mark contents as checked: reading them again gave the stored result."""
    session.execute(select(func.confirm_contents(_digests(contents))))


def unlink_contents(session: Session, contents: Collection[bytes]) -> None:
    """Unlink contents from all their clips, which are then read again or stay in quarantine."""
    mine = Clip.content_sha256 == any_(_digests(contents))
    ids = select(Clip.id).where(mine).order_by(Clip.id).with_for_update().scalar_subquery()
    session.execute(update(Clip).where(Clip.id.in_(ids)).values(content_sha256=None))


def discard_tokens(session: Session, contents: Collection[bytes]) -> None:
    """Delete the codes and latents of contents that were never checked."""
    session.execute(select(func.discard_tokens(_digests(contents))))


def restate_content(session: Session, sha256: bytes, facts: AudioFacts) -> None:
    """Correct the facts of a content and delete its codes and latents, which are then computed again."""
    channels = cast(facts.channels, SmallInteger)
    num_samples = cast(facts.num_samples, BigInteger)
    peak = cast(facts.peak, Double)
    session.execute(
        select(func.restate_content(sha256, facts.sample_rate, channels, num_samples, facts.format, peak))
    )


def libraries_showing(session: Session, contents: Collection[bytes]) -> dict[bytes, list[str]]:
    """Return the libraries, as NAME@VERSION, with each of these contents as a clip or as a target."""
    shown = union(
        select(DemonstrationRow.demonstration_set_id, DemonstrationRow.content_sha256.label("sha256")),
        select(DemonstrationRow.demonstration_set_id, DemonstrationRow.target_content_sha256),
    ).subquery()
    rows = session.execute(
        select(shown.c.sha256, LIBRARY)
        .join(DemonstrationSet, DemonstrationSet.id == shown.c.demonstration_set_id)
        .where(shown.c.sha256 == any_(_digests(contents)))
        .order_by(DemonstrationSet.name, DemonstrationSet.version)
    )
    found: dict[bytes, list[str]] = {}
    for sha256, library in rows:
        found.setdefault(sha256, []).append(library)
    return found


def answers_retracted_by(
    session: Session, run_id: UUID, codec_id: int, llm_id: int | None
) -> list[RetractedAnswer]:
    """Return the requests of the label answers of these models that a run retracted, for current clips."""
    answer = PredictionRow
    rows = session.execute(
        select(Clip.uri, LIBRARY, Run.parameters)
        .join(answer, answer.content_sha256 == Clip.content_sha256)
        .join(DemonstrationSet, DemonstrationSet.id == answer.demonstration_set_id)
        .join(Run, Run.id == answer.run_id)
        .where(answer.retracted_by_run == run_id, Clip.missing_since.is_(None))
        .where(answer.codec_id == codec_id, answer.llm_id.is_not_distinct_from(llm_id))
    )
    return [RetractedAnswer(uri, library, _frozen(parameters)) for uri, library, parameters in rows]


def audio_retracted_by(
    session: Session, run_id: UUID, codec_id: int, llm_id: int | None, denoisers: Collection[str]
) -> list[RetractedAudio]:
    """Return the requests of the audio of these models that a run retracted, for texts and current clips.

    `denoisers` are fingerprints.
    """
    audio = GeneratedAudio
    by_llm = audio.llm_id.is_not(None) & (audio.llm_id == llm_id)
    by_these = by_llm | audio.denoiser_fingerprint.in_(denoisers)
    rows = session.execute(
        select(audio.task, audio.method, audio.text, Clip.uri, LIBRARY, Run.parameters)
        .outerjoin(Clip, and_(Clip.content_sha256 == audio.content_sha256, Clip.missing_since.is_(None)))
        .join(DemonstrationSet, DemonstrationSet.id == audio.demonstration_set_id)
        .join(Run, Run.id == audio.run_id)
        .where(audio.retracted_by_run == run_id, func.num_nonnulls(audio.text, Clip.uri) > 0)
        .where(audio.codec_id == codec_id, by_these)
    )
    return [
        RetractedAudio(task, method, spoken, uri, library, _frozen(parameters))
        for task, method, spoken, uri, library, parameters in rows
    ]


def count_retracted_of_others(
    session: Session,
    run_id: UUID,
    codec_id: int,
    llm_id: int | None,
    audio_llm_id: int | None,
    denoisers: Collection[str],
) -> int:
    """Return the number of answers that a run retracted and that other models than these had given."""
    label, audio = PredictionRow, GeneratedAudio
    by_other_llm = label.llm_id.is_distinct_from(llm_id)
    by_other_method = case(
        (audio.denoiser_fingerprint.is_not(None), audio.denoiser_fingerprint.not_in(denoisers)),
        else_=audio.llm_id.is_distinct_from(audio_llm_id),
    )
    others: list[tuple[Answers, ColumnElement[bool]]] = [(label, by_other_llm), (audio, by_other_method)]
    return sum(
        session.scalar(
            select(func.count()).where(
                table.retracted_by_run == run_id, or_(table.codec_id != codec_id, is_other)
            )
        )
        or 0
        for table, is_other in others
    )


def _frozen(parameters: Mapping[str, Any]) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in parameters.items() if isinstance(value, str | int | float))


def _digests(contents: Collection[bytes]) -> ColumnElement[Any]:
    return cast(sorted(contents), ARRAY(LargeBinary))
