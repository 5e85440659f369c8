"""From objects to tokens: read, hash, decode and encode a batch of clips, and write it in one transaction.

Nothing is read or decoded twice, and a clip that cannot be used costs one quarantine row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING, TypeGuard

from core.decoding.audio_stream import AudioInfo, AudioStream
from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected, ReasonCode
from db.clips import (
    LABEL_STAGE,
    TOKENIZE_STAGE,
    ClipToTokenize,
    Selection,
    clips_to_tokenize,
    last_clip_read,
    link_contents,
)
from db.embeddings import ContentEmbedding, contents_with_embeddings, contents_with_windows
from db.engine import session_scope
from db.quarantine import Rejection, quarantine_clips, resolve
from db.runs import RunClaim
from db.tokens import TokenizedContent, contents_with_latents, save_tokens
from db.tombstones import bury, drop_unread_clips
from flows.pipeline.clips.tombstones import Tombstones, version_name
from flows.pipeline.runs import outage
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.outage import OF_ONE_OBJECT
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import add_audio, timed
from flows.pipeline.storage import Fetched, NothingRead, Readable, StorageDenied
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.uris import is_s3

if TYPE_CHECKING:
    from sqlalchemy.orm import Session
    from torch import Tensor

    from core.codec import EncodedClip
    from core.embeddings.embedder import ClipEmbedding, EmbeddingPass
    from core.embeddings.log_mel import LogMelPass
    from core.tokens.loudness import LevelMeter

FORGOTTEN: ReasonCode = "forgotten"
MAX_BATCH_BYTES = 512 * 2**20
MAX_HELD_SECONDS = 60.0
"""Clips up to this length wait for the codec in memory; longer ones are decoded while they are encoded."""


@dataclass(frozen=True)
class FetchedClip:
    """A clip with a private copy of its bytes."""

    clip: ClipToTokenize
    fetched: Fetched


@dataclass(frozen=True)
class DecodedClip(FetchedClip):
    """A clip whose samples are held in memory, until they are encoded."""

    info: AudioInfo
    pieces: list[Tensor]


@dataclass(frozen=True)
class SameBytes:
    """The outcome for a clip whose content has tokens already, or gets them from another clip."""

    sha256: bytes


Outcome = TokenizedContent | SameBytes | AudioRejected


def batches_to_tokenize(
    runtime: Runtime,
    selection: Selection,
    size: int,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> list[list[ClipToTokenize]]:
    """Return batches, in uri order, of clips without tokens, latent or an embedding and not in quarantine.

    The embeddings are those of the settings' models and of `embedding_models`; of `window_models`, those of
    windows too. A batch has at most `size` clips and MAX_BATCH_BYTES, or is one larger clip: its objects are
    on disk at the same time.
    """
    wanted = _wanted(runtime, embedding_models)
    with session_scope(runtime.engine) as session:
        clips = clips_to_tokenize(session, selection, runtime.codec_id, wanted, window_models)
    batches: list[list[ClipToTokenize]] = []
    room = 0
    for clip in clips:
        if not batches or len(batches[-1]) == size or clip.size > room:
            batches.append([])
            room = MAX_BATCH_BYTES
        batches[-1].append(clip)
        room -= clip.size
    return batches


def _wanted(runtime: Runtime, embedding_models: Collection[int]) -> set[int]:
    return {*runtime.embedding_model_ids, *embedding_models}


def tokenize_uris(
    runtime: Runtime,
    uris: Iterable[str],
    run: RunClaim,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> None:
    """Tokenize the clips that lack tokens or an embedding. The uris may be of several storages."""
    size, models = runtime.settings.batch_size, (embedding_models, window_models)
    for _, together in groupby(sorted(uris), key=is_s3):
        for batch in batches_to_tokenize(runtime, set(together), size, *models):
            tokenize_batch(runtime, runtime.readable(batch[0].uri), batch, run, *models)


def tokenize_batch(
    runtime: Runtime,
    storage: Readable,
    clips: Sequence[ClipToTokenize],
    run: RunClaim,
    embedding_models: Collection[int] = (),
    window_models: Collection[int] = (),
) -> Counts:
    """Tokenize a batch and write it in one transaction; safe to repeat, in part or whole."""
    find_complete = partial(_complete, runtime, _wanted(runtime, embedding_models), window_models)
    return _save(runtime, clips, _tokenize(runtime, storage, clips, find_complete, window_models), run)


def encode_again(runtime: Runtime, storage: Readable, clips: Sequence[ClipToTokenize]) -> list[Outcome]:
    """Tokenize clips whose bytes all differ, without reading or writing stored tokens."""
    return _tokenize(runtime, storage, clips, lambda contents: set())


def _tokenize(
    runtime: Runtime,
    storage: Readable,
    clips: Sequence[ClipToTokenize],
    find_complete: Callable[[Collection[bytes]], set[bytes]],
    window_models: Collection[int] = (),
) -> list[Outcome]:
    with ExitStack() as files:
        with timed("get"):
            fetches = fetch_clips(runtime, storage, clips, files)
        new = _new_contents(clips, fetches, find_complete)
        with timed("decode"):
            decoded = list(runtime.decoding.map(partial(_decode, runtime), new))
        with runtime.device_lock(), timed("encode"):
            encoded = _encode_all(runtime, decoded, window_models)
    by_content = {one.fetched.sha256: outcome for one, outcome in zip(new, encoded, strict=True)}
    return [_clip_outcome(clip, fetch, by_content) for clip, fetch in zip(clips, fetches, strict=True)]


def _clip_outcome(
    clip: ClipToTokenize, fetch: Fetched | AudioRejected, by_content: Mapping[bytes, Outcome]
) -> Outcome:
    """Return the outcome of a clip. Equal bytes are rejected together; one of their clips gets the tokens."""
    if isinstance(fetch, AudioRejected):
        return fetch
    same = SameBytes(fetch.sha256)
    outcome = by_content.get(fetch.sha256, same)
    return same if isinstance(outcome, TokenizedContent) and outcome.clip_id != clip.id else outcome


def fetch_clips(
    runtime: Runtime, storage: Readable, clips: Sequence[ClipToTokenize], files: ExitStack
) -> list[Fetched | AudioRejected]:
    """Fetch clips. One that cannot be read is rejected if another can; otherwise the error is the run's.

    Bytes that were forgotten are rejected, before anybody decodes them.
    """

    def fetch(clip: ClipToTokenize) -> Fetched | Exception:
        try:
            return _retry(lambda: files.enter_context(_read(storage, clip)))
        except (AudioRejected, StorageDenied, *OF_ONE_OBJECT) as error:
            return error

    fetches = list(runtime.downloads.map(fetch, clips))
    errors = [(clip.uri, one) for clip, one in zip(clips, fetches, strict=True) if _is_read_error(one)]
    if errors and not any(isinstance(one, Fetched) for one in fetches):
        uri, error = errors[0]
        if not _can_read_another(runtime, storage, uri):
            raise _run_error(error, len(errors))
    found = [_rejection(one) if isinstance(one, Exception) else one for one in fetches]
    return _without_forgotten(runtime, found)


def _without_forgotten(
    runtime: Runtime, fetches: Sequence[Fetched | AudioRejected]
) -> list[Fetched | AudioRejected]:
    digests = {one.sha256 for one in fetches if isinstance(one, Fetched)}
    with session_scope(runtime.engine) as session:
        forgotten = Tombstones(runtime.settings).contents(session, digests)
    return [
        AudioRejected(FORGOTTEN, "it was forgotten on purpose")
        if isinstance(one, Fetched) and one.sha256 in forgotten
        else one
        for one in fetches
    ]


def _retry(read: Callable[[], Fetched]) -> Fetched:
    """Read an object, in several attempts if the error may be of this object alone and pass."""
    for pause in outage.PAUSES_SECONDS:
        try:
            return read()
        except OF_ONE_OBJECT:
            time.sleep(pause)
    return read()


def _is_read_error(fetch: Fetched | Exception) -> TypeGuard[Exception]:
    return not isinstance(fetch, Fetched | AudioRejected)


def _run_error(error: Exception, clips: int) -> Exception:
    if isinstance(error, StorageDenied):
        return error
    return NothingRead(f"none of {clips} clips could be read, nor one that was read before: {error}")


def _rejection(error: Exception) -> AudioRejected:
    if isinstance(error, AudioRejected):
        return error
    if isinstance(error, StorageDenied):
        return AudioRejected("denied", str(error))
    return AudioRejected("timeout" if isinstance(error, TimeoutError) else "transfer", str(error))


def _read(storage: Readable, clip: ClipToTokenize) -> AbstractContextManager[Fetched]:
    return storage.read(clip.uri, clip.version_token, clip.size)


def _can_read_another(runtime: Runtime, storage: Readable, unread_uri: str) -> bool:
    """Return whether a clip of the same root that was read before can still be read."""
    root = Access.of(runtime.settings).root(unread_uri)
    with session_scope(runtime.engine) as session:
        known = last_clip_read(session, root)
    try:
        with _read(storage, known) if known else nullcontext():
            return known is not None
    except (StorageDenied, AudioRejected, *OF_ONE_OBJECT):
        return False


def _complete(
    runtime: Runtime,
    embedding_models: Collection[int],
    window_models: Collection[int],
    contents: Collection[bytes],
) -> set[bytes]:
    """Return the contents that have tokens, latent and embeddings, of another clip or an earlier run."""
    with session_scope(runtime.engine) as session:
        complete = contents_with_latents(session, runtime.codec_id, set(contents))
        complete = contents_with_embeddings(session, embedding_models, complete)
        return contents_with_windows(session, window_models, complete)


def _new_contents(
    clips: Sequence[ClipToTokenize],
    fetches: Sequence[Fetched | AudioRejected],
    find_complete: Callable[[Collection[bytes]], set[bytes]],
) -> list[FetchedClip]:
    """Return the first clip of each content that has no tokens."""
    first: dict[bytes, FetchedClip] = {}
    for clip, fetch in zip(clips, fetches, strict=True):
        if isinstance(fetch, Fetched):
            first.setdefault(fetch.sha256, FetchedClip(clip, fetch))
    complete = find_complete(first.keys())
    return [fetched for content, fetched in first.items() if content not in complete]


def _decode(runtime: Runtime, fetched: FetchedClip) -> FetchedClip | AudioRejected:
    """Decode a clip of ordinary length into memory; a longer one stays in its file."""
    limit = int(MAX_HELD_SECONDS * runtime.codec.config.sample_rate)
    pieces: list[Tensor] = []
    try:
        stream = runtime.decoder.open(fetched.fetched.path)
        for piece in _resample(runtime, stream):
            pieces.append(piece)
            if sum(map(len, pieces)) > limit:
                return fetched
    except AudioRejected as rejected:
        return rejected
    return DecodedClip(fetched.clip, fetched.fetched, stream.info, pieces)


def _resample(runtime: Runtime, stream: AudioStream) -> Iterator[Tensor]:
    """Yield the stream at the codec's rate, as 1-D tensors."""
    import torch

    from core.audio.resampling import resample_blocks

    rate = runtime.codec.config.sample_rate
    yield from map(torch.from_numpy, resample_blocks(stream, stream.sample_rate, rate))


def _encode_all(
    runtime: Runtime, decoded: Sequence[FetchedClip | AudioRejected], window_models: Collection[int] = ()
) -> list[Outcome]:
    """Encode the clips that are not rejected; one that the codec fails on alone is rejected too."""
    step: ModelStep[FetchedClip, TokenizedContent | AudioRejected] = ModelStep(
        "encode",
        partial(_encode, runtime, window_models),
        runtime.batch_limits,
        lambda: _encode_tone(runtime),
    )
    encoded = iter(step.run([clip for clip in decoded if isinstance(clip, FetchedClip)]))
    return [next(encoded) if isinstance(clip, FetchedClip) else clip for clip in decoded]


def _encode_tone(runtime: Runtime) -> None:
    """Encode a second of audio that every codec can encode."""
    import torch

    rate = runtime.codec.config.sample_rate
    tone = 0.1 * torch.sin(440 * math.tau / rate * torch.arange(rate))
    runtime.codec.encode_with_latents([[tone]])
    for embedder in runtime.embedders:
        embedder.embed([tone.numpy()])


def _encode(
    runtime: Runtime, window_models: Collection[int], batch: Sequence[FetchedClip]
) -> list[TokenizedContent | AudioRejected]:
    """Return codes, levels, pooled latent and embeddings of each clip, or why it is rejected."""
    from core.codec.clip_encoder import encode_with_meters
    from core.embeddings.embedder import EmbeddingPass
    from core.embeddings.log_mel import LogMelPass

    passes: list[EmbeddingPass | LogMelPass] = [
        EmbeddingPass(one, keep_windows=model_id in window_models)
        for one, model_id in zip(runtime.embedders, runtime.embedding_model_ids, strict=True)
    ]
    if runtime.log_mel_id is not None:
        passes.append(LogMelPass())
    with ClipDecoder(runtime.settings.audio_limits) as decoder:
        waveforms = [_Waveform(runtime, decoder, clip) for clip in batch]
        encoded = encode_with_meters(runtime.codec, (_follow(iter(one), passes) for one in waveforms))
    by_model = [one.finish() for one in passes]
    embeddings = [[one[at] for one in by_model] for at in range(len(batch))]
    clips = zip(waveforms, encoded, embeddings, strict=True)
    return [_outcome(runtime, waveform, *one, vectors) for waveform, one, vectors in clips]


def _follow(pieces: Iterator[Tensor], passes: Sequence[EmbeddingPass | LogMelPass]) -> Iterator[Tensor]:
    """Return the pieces, which the passes read on the way."""
    for one in passes:
        pieces = one.follow(pieces)
    return pieces


class _Waveform:
    """The samples of a clip, held in memory or, if it is long or tried again, decoded while they are read.

    A clip whose decoding fails on the way just ends; then `rejected` says why.
    """

    def __init__(self, runtime: Runtime, decoder: ClipDecoder, clip: FetchedClip) -> None:
        self._runtime, self._decoder, self.clip = runtime, decoder, clip
        self.info = clip.info if isinstance(clip, DecodedClip) else None
        self.rejected: AudioRejected | None = None

    def __iter__(self) -> Iterator[Tensor]:
        if isinstance(self.clip, DecodedClip) and self.clip.pieces:
            yield from self.clip.pieces
            self.clip.pieces.clear()  # the memory is needed for the next clips
            return
        try:
            stream = self._decoder.open(self.clip.fetched.path)
            yield from _resample(self._runtime, stream)
            self.info = stream.info
        except AudioRejected as rejected:
            self.rejected = rejected


def _outcome(
    runtime: Runtime,
    waveform: _Waveform,
    encoded: EncodedClip,
    meter: LevelMeter,
    embeddings: Sequence[ClipEmbedding],
) -> TokenizedContent | AudioRejected:
    if waveform.rejected is not None:
        return waveform.rejected
    try:
        return _tokenized(runtime, waveform, encoded, meter, embeddings)
    except AudioRejected as rejected:
        return rejected


def _tokenized(
    runtime: Runtime,
    waveform: _Waveform,
    encoded: EncodedClip,
    meter: LevelMeter,
    embeddings: Sequence[ClipEmbedding],
) -> TokenizedContent:
    """Return the row to store. Raises AudioRejected for numbers that must not be stored."""
    from core.tokens.clip_codes import check_tokens

    codes = [layer.tolist() for layer in encoded.codes]
    check_tokens(codes, encoded.latent, runtime.codec.config.codebook_sizes)
    mean, deviation = encoded.latent.tolist()
    info = waveform.info
    assert info
    return TokenizedContent(
        clip_id=waveform.clip.clip.id,
        sha256=waveform.clip.fetched.sha256,
        sample_rate=info.sample_rate,
        channels=info.channels,
        num_samples=info.num_samples,
        format=info.format,
        peak=info.peak,
        codes=codes,
        levels=meter.levels.tolist(),
        latent=(mean, deviation),
        embeddings=_content_embeddings(runtime, embeddings),
    )


def _content_embeddings(runtime: Runtime, embeddings: Sequence[ClipEmbedding]) -> list[ContentEmbedding]:
    """Return the rows to store. Raises AudioRejected for numbers that must not be stored."""
    for embedding in embeddings:
        embedding.check()
    log_mel = [] if runtime.log_mel_id is None else [runtime.log_mel_id]
    return [
        ContentEmbedding(
            model_id,
            one.embedding.tolist(),
            None if one.scores is None else one.scores.tolist(),
            one.timed,
            None if one.windows is None else one.windows.astype("<f2").tobytes(),
        )
        for model_id, one in zip([*runtime.embedding_model_ids, *log_mel], embeddings, strict=True)
    ]


def _save(
    runtime: Runtime, clips: Sequence[ClipToTokenize], outcomes: Sequence[Outcome], run: RunClaim
) -> Counts:
    """Write contents and codes, the link of each clip to its content, and quarantine rows."""
    by_clip = {clip.id: outcome for clip, outcome in zip(clips, outcomes, strict=True)}
    tokenized = [one for one in outcomes if isinstance(one, TokenizedContent)]
    same_bytes = {clip: one.sha256 for clip, one in by_clip.items() if isinstance(one, SameBytes)}
    all_rejected = [
        Rejection(clip, one.reason, one.message)
        for clip, one in by_clip.items()
        if isinstance(one, AudioRejected)
    ]
    rejected = [one for one in all_rejected if one.reason != FORGOTTEN]
    forgotten = {one.clip_id for one in all_rejected if one.reason == FORGOTTEN}
    new_tokens = [clip for clip, one in by_clip.items() if isinstance(one, TokenizedContent)]
    with timed("write"), run_session(runtime, run) as session:
        save_tokens(session, runtime.codec_id, run.writes_as, tokenized)
        link_contents(session, same_bytes)
        resolve(session, TOKENIZE_STAGE, [*same_bytes, *new_tokens])
        resolve(session, LABEL_STAGE, new_tokens)  # the old reason was about the old tokens
        quarantine_clips(session, TOKENIZE_STAGE, run.writes_as, rejected)
        _bury(runtime, session, [clip for clip in clips if clip.id in forgotten])
    add_audio(sum(one.num_samples / one.sample_rate for one in tokenized))
    reasons = Counts(f"quarantined:{clip.reason}" for clip in rejected)
    reasons += Counts(forgotten=len(forgotten))
    return Counts(tokenized=len(tokenized), same_bytes=len(same_bytes), quarantined=len(rejected)) + reasons


def _bury(runtime: Runtime, session: Session, clips: Sequence[ClipToTokenize]) -> None:
    """Drop clips with forgotten bytes, so that no name of theirs stays, and let listings meet them."""
    if clips:
        names = [version_name(clip.uri, clip.version_token) for clip in clips]
        graves = Tombstones(runtime.settings).graves(session, "version", names).values()
        bury(session, graves)
        drop_unread_clips(session, [clip.id for clip in clips], [grave.keyed_hash for grave in graves])
