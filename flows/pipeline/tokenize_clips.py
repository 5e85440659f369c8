"""From objects to tokens: read, hash, decode, encode a batch of clips, and write it in one transaction.

Nothing is read or decoded twice, and a clip that cannot be used costs one quarantine row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from core.decoding.child_process.decoder import ClipDecoder
from core.decoding.in_process import AudioInfo, AudioStream
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
from db.embeddings import ContentEmbedding, contents_with_embeddings
from db.engine import session_scope
from db.quarantine import Rejection, quarantine_clips, resolve
from db.runs import RunClaim
from db.tokens import TokenizedContent, contents_with_latents, save_tokens
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
    from torch import Tensor

    from core.codec import EncodedClip
    from core.embeddings.embedder import ClipEmbedding, EmbeddingPass
    from core.tokens.loudness import LevelMeter

BATCH_BYTES = 512 * 2**20
HELD_SECONDS = 60.0
"""Clips up to this length wait for the codec in memory; longer ones are decoded while they are encoded."""


@dataclass
class Work:
    """A clip on its way through its batch."""

    clip: ClipToTokenize
    fetched: Fetched | None = None
    info: AudioInfo | None = None
    held: list[Tensor] | None = None
    tokenized: TokenizedContent | None = None
    rejected: AudioRejected | None = None
    trouble: Exception | None = None


def batches_to_tokenize(runtime: Runtime, selection: Selection, size: int) -> list[list[ClipToTokenize]]:
    """Clips without tokens, latent or an embedding, in uri order, cut in batches; quarantined ones wait.

    A batch has at most `size` clips and BATCH_BYTES, or is one larger clip: its objects lie on disk together.
    """
    with session_scope(runtime.engine) as session:
        clips = clips_to_tokenize(session, selection, runtime.codec_id, runtime.embedding_model_ids)
    batches: list[list[ClipToTokenize]] = []
    room = 0
    for clip in clips:
        if not batches or len(batches[-1]) == size or clip.size > room:
            batches.append([])
            room = BATCH_BYTES
        batches[-1].append(clip)
        room -= clip.size
    return batches


def tokenize_uris(runtime: Runtime, uris: Iterable[str], run: RunClaim) -> None:
    """Tokenizes what of these clips has no tokens yet; they may lie in several kinds of storage."""
    for _, together in groupby(sorted(uris), key=is_s3):
        for batch in batches_to_tokenize(runtime, set(together), runtime.settings.batch_size):
            tokenize_batch(runtime, runtime.readable(batch[0].uri), batch, run)


def tokenize_batch(
    runtime: Runtime, storage: Readable, clips: Sequence[ClipToTokenize], run: RunClaim
) -> Counts:
    """Tokenizes a batch and writes it in one transaction; safe to repeat, in part or whole."""
    return _save(runtime, _worked(runtime, storage, clips, lambda batch: _known(runtime, batch)), run)


def encode_again(runtime: Runtime, storage: Readable, clips: Sequence[ClipToTokenize]) -> list[Work]:
    """What tokenizing these clips, of different bytes each, gives today; nothing is written."""
    return _worked(runtime, storage, clips, lambda batch: set())


def _worked(
    runtime: Runtime,
    storage: Readable,
    clips: Sequence[ClipToTokenize],
    known: Callable[[Sequence[Work]], set[bytes]],
) -> list[Work]:
    """The clips as far as they come: tokenized, rejected, or of bytes that are known."""
    batch = [Work(clip) for clip in clips]
    with ExitStack() as files:
        with timed("get"):
            _in_threads(runtime.downloads, batch, lambda work: _fetch(storage, work, files))
            _reject_troubled(runtime, storage, batch)
        fresh = _first_of_each_content(batch, known(batch))
        with timed("decode"):
            _in_threads(runtime.decoding, fresh, lambda work: _decode(runtime, work))
        with runtime.device_lock(), timed("encode"):
            _encode(runtime, [work for work in fresh if work.rejected is None])
    _share_rejections(batch, fresh)
    return batch


def _in_threads(pool: ThreadPoolExecutor, batch: Sequence[Work], step: Callable[[Work], None]) -> None:
    """One step over a batch; what is wrong with a clip is kept with it, any other error is raised."""

    def guarded(work: Work) -> None:
        try:
            step(work)
        except AudioRejected as rejected:
            work.rejected = rejected

    for _ in pool.map(guarded, batch):
        pass


def _fetch(storage: Readable, work: Work, files: ExitStack) -> None:
    try:
        work.fetched = _retried(lambda: files.enter_context(_read(storage, work.clip)))
    except (StorageDenied, *OF_ONE_OBJECT) as error:
        work.trouble = error


def _retried(read: Callable[[], Fetched]) -> Fetched:
    """Read an object; try again a few times where the trouble may be its own and pass."""
    for pause in outage.PAUSES_SECONDS:
        try:
            return read()
        except OF_ONE_OBJECT:
            time.sleep(pause)
    return read()


def _read(storage: Readable, clip: ClipToTokenize) -> AbstractContextManager[Fetched]:
    return storage.read(clip.uri, clip.version_token, clip.size)


def _reject_troubled(runtime: Runtime, storage: Readable, batch: Sequence[Work]) -> None:
    """Reject clips that cannot be read where others can; raise the error where none can: it is the run's."""
    troubled = [(work, work.trouble) for work in batch if work.trouble]
    if not troubled:
        return
    read = any(work.fetched for work in batch)
    if not read and not _may_read_another(runtime, storage, troubled[0][0].clip.uri):
        raise _of_the_run(troubled[0][1], len(troubled))
    for work, error in troubled:
        work.rejected = AudioRejected(_reason(error), str(error))


def _of_the_run(error: Exception, clips: int) -> Exception:
    if isinstance(error, StorageDenied):
        return error
    return NothingRead(f"none of {clips} clips could be read, nor one that was read before: {error}")


def _reason(error: Exception) -> ReasonCode:
    if isinstance(error, StorageDenied):
        return "denied"
    return "timeout" if isinstance(error, TimeoutError) else "transfer"


def _may_read_another(runtime: Runtime, storage: Readable, troubled: str) -> bool:
    """Return whether a clip of the same root that was read before can still be read."""
    root = Access.of(runtime.settings).root(troubled)
    with session_scope(runtime.engine) as session:
        known = last_clip_read(session, root)
    try:
        with _read(storage, known) if known else nullcontext():
            return known is not None
    except (StorageDenied, AudioRejected, *OF_ONE_OBJECT):
        return False


def _known(runtime: Runtime, batch: Sequence[Work]) -> set[bytes]:
    """Contents with all that a batch gives: another clip, or an earlier run, had the same bytes."""
    with session_scope(runtime.engine) as session:
        contents = {work.fetched.sha256 for work in batch if work.fetched}
        complete = contents_with_latents(session, runtime.codec_id, contents)
        return contents_with_embeddings(session, runtime.embedding_model_ids, complete)


def _first_of_each_content(batch: Sequence[Work], known: set[bytes]) -> list[Work]:
    first: dict[bytes, Work] = {}
    for work in batch:
        if work.fetched and work.fetched.sha256 not in known:
            first.setdefault(work.fetched.sha256, work)
    return list(first.values())


def _decode(runtime: Runtime, work: Work) -> None:
    """Holds a clip of ordinary length in memory; a longer one stays in its file."""
    assert work.fetched
    stream = runtime.decoder.open(work.fetched.path)
    limit = int(HELD_SECONDS * runtime.codec.config.sample_rate)
    held: list[Tensor] = []
    for piece in _pieces(runtime, stream):
        held.append(piece)
        if sum(map(len, held)) > limit:
            return
    work.held, work.info = held, stream.info


def _pieces(runtime: Runtime, stream: AudioStream) -> Iterator[Tensor]:
    """The stream at the codec's rate, as 1-D tensors."""
    import torch

    from core.audio.waveform import resample_blocks

    rate = runtime.codec.config.sample_rate
    yield from map(torch.from_numpy, resample_blocks(stream, stream.sample_rate, rate))


def _encode(runtime: Runtime, batch: Sequence[Work]) -> None:
    """Encode each clip of the batch; one that the codec fails on alone is rejected."""
    step: ModelStep[Work, TokenizedContent | AudioRejected] = ModelStep(
        "encode", lambda some: _encoded(runtime, some), runtime.batch_limits, lambda: _encode_tone(runtime)
    )
    for work, outcome in zip(batch, step.run(batch), strict=True):
        if isinstance(outcome, AudioRejected):
            work.rejected = outcome
        else:
            work.tokenized = outcome


def _encode_tone(runtime: Runtime) -> None:
    """Encode a second of audio that every codec can encode."""
    import torch

    rate = runtime.codec.config.sample_rate
    tone = 0.1 * torch.sin(440 * math.tau / rate * torch.arange(rate))
    runtime.codec.encode_with_latents([[tone]])
    for embedder in runtime.embedders:
        embedder.embed([tone.numpy()])


def _encoded(runtime: Runtime, batch: Sequence[Work]) -> list[TokenizedContent | AudioRejected]:
    """Return codes, levels, pooled latent and embeddings of each clip, or what is wrong with it."""
    from core.embeddings.embedder import EmbeddingPass
    from core.tokens.loudness import LevelMeter

    config = runtime.codec.config
    span = config.block_length // config.codes_per_block[0]
    meters = [LevelMeter(span, config.block_length) for _ in batch]
    passes = [EmbeddingPass(embedder) for embedder in runtime.embedders]
    with ClipDecoder(runtime.settings.audio_limits) as decoder:
        streams = (
            _followed(meter.measure(_waveform(runtime, decoder, work)), passes)
            for work, meter in zip(batch, meters, strict=True)
        )
        encoded = runtime.codec.encode_with_latents(streams)
    by_model = [one.finish() for one in passes]
    embeddings = [[one[at] for one in by_model] for at in range(len(batch))]
    return [_outcome(runtime, *one) for one in zip(batch, encoded, meters, embeddings, strict=True)]


def _followed(pieces: Iterator[Tensor], passes: Sequence[EmbeddingPass]) -> Iterator[Tensor]:
    for one in passes:
        pieces = one.follow(pieces)
    return pieces


def _waveform(runtime: Runtime, decoder: ClipDecoder, work: Work) -> Iterator[Tensor]:
    """A clip's pieces, held or, for a long one, from its file; a clip that fails half-way just ends."""
    if work.held is not None:
        yield from work.held
        work.held = None
        return
    assert work.fetched
    try:
        stream = decoder.open(work.fetched.path)
        yield from _pieces(runtime, stream)
        work.info = stream.info
    except AudioRejected as rejected:
        work.rejected = rejected


def _outcome(
    runtime: Runtime, work: Work, clip: EncodedClip, meter: LevelMeter, embeddings: Sequence[ClipEmbedding]
) -> TokenizedContent | AudioRejected:
    if work.rejected is not None:
        return work.rejected
    try:
        tokenized = _tokenized(work, clip, meter.levels.tolist(), runtime.codec.config.codebook_sizes)
        return replace(tokenized, embeddings=_content_embeddings(runtime, embeddings))
    except AudioRejected as rejected:
        return rejected


def _tokenized(
    work: Work, clip: EncodedClip, levels: list[int], codebook_sizes: Sequence[int]
) -> TokenizedContent:
    """Return the row to store; raises AudioRejected for codes or a latent that must not be stored."""
    from core.tokens.clip_codes import check_tokens

    assert work.fetched
    assert work.info
    semantic, acoustic1, acoustic2 = (layer.tolist() for layer in clip.codes)
    check_tokens((semantic, acoustic1, acoustic2), clip.latent, codebook_sizes)
    mean, deviation = clip.latent.tolist()
    return TokenizedContent(
        clip_id=work.clip.id,
        sha256=work.fetched.sha256,
        sample_rate=work.info.sample_rate,
        channels=work.info.channels,
        num_samples=work.info.num_samples,
        format=work.info.format,
        peak=work.info.peak,
        codes=(semantic, acoustic1, acoustic2),
        levels=levels,
        latent=(mean, deviation),
    )


def _content_embeddings(runtime: Runtime, embeddings: Sequence[ClipEmbedding]) -> list[ContentEmbedding]:
    """Return the rows to store; raises AudioRejected for numbers that must not be stored."""
    for embedding in embeddings:
        embedding.check()
    ids = runtime.embedding_model_ids if embeddings else []
    return [
        ContentEmbedding(
            model_id,
            one.embedding.tolist(),
            None if one.scores is None else one.scores.tolist(),
            one.timed,
        )
        for model_id, one in zip(ids, embeddings, strict=True)
    ]


def _share_rejections(batch: Sequence[Work], fresh: Sequence[Work]) -> None:
    """Clips of the same bytes share their fate."""
    rejected = {work.fetched.sha256: work.rejected for work in fresh if work.fetched and work.rejected}
    for work in batch:
        if work.fetched and work.rejected is None:
            work.rejected = rejected.get(work.fetched.sha256)


def _save(runtime: Runtime, batch: Sequence[Work], run: RunClaim) -> Counts:
    """One transaction: contents and codes, each clip's link to its content, quarantine rows."""
    tokenized = [work.tokenized for work in batch if work.tokenized]
    rejected = [
        Rejection(work.clip.id, work.rejected.reason, work.rejected.message)
        for work in batch
        if work.rejected
    ]
    same_bytes = {
        work.clip.id: work.fetched.sha256
        for work in batch
        if work.fetched and not work.rejected and not work.tokenized
    }
    codec_id = runtime.codec_id
    with timed("write"), run_session(runtime, run) as session:
        save_tokens(session, codec_id, run.writes_as, tokenized)
        link_contents(session, same_bytes)
        fresh = [work.clip.id for work in batch if work.tokenized]
        resolve(session, TOKENIZE_STAGE, [*same_bytes, *fresh])
        resolve(session, LABEL_STAGE, fresh)  # what was wrong with earlier tokens says nothing about new ones
        quarantine_clips(session, TOKENIZE_STAGE, run.writes_as, rejected)
    add_audio(sum(one.num_samples / one.sample_rate for one in tokenized))
    reasons = Counts(f"quarantined:{clip.reason}" for clip in rejected)
    return Counts(tokenized=len(tokenized), same_bytes=len(same_bytes), quarantined=len(rejected)) + reasons
