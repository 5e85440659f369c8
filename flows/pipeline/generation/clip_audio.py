"""The audio of a stored content, read again from a clip that has it."""

from collections.abc import Iterable
from contextlib import ExitStack

import numpy as np

from core.decoding.audio_stream import Samples
from core.errors import AudioRejected
from db.clips import ClipToTokenize, clips_with_content
from db.engine import session_scope
from flows.pipeline.clips.tokenize_clips import fetch_clips
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Fetched
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.interface import StorageRefused


def fetch_content(runtime: Runtime, content_sha256: bytes, files: ExitStack) -> Fetched:
    """Return a private copy of a content's bytes, which lasts as long as `files`.

    Raises AudioRejected for one that no readable clip has any more, and what reading raises.
    """
    with session_scope(runtime.engine) as session:
        clips = clips_with_content(session, content_sha256)
    if (clip := _first_readable(runtime, clips)) is None:
        raise AudioRejected("gone", f"no clip that may be read has the content {content_sha256.hex()[:12]}")
    [fetched] = fetch_clips(runtime, runtime.readable(clip.uri), [clip], files)
    if isinstance(fetched, AudioRejected):
        raise fetched
    if fetched.sha256 != content_sha256:
        raise AudioRejected("gone", f"{clip.uri} has other bytes than when it was tokenized")
    return fetched


def beginning(blocks: Iterable[Samples], count: int) -> Samples:
    """Return the first `count` samples of blocks, or all."""
    kept = [np.zeros(0, np.float32)]
    for block in blocks:
        kept.append(block[: count - sum(map(len, kept))])
        if sum(map(len, kept)) >= count:
            break
    return np.concatenate(kept)


def _first_readable(runtime: Runtime, clips: list[ClipToTokenize]) -> ClipToTokenize | None:
    access = Access.of(runtime.settings)
    for clip in clips:
        try:
            access.root(clip.uri)
        except StorageRefused:
            continue
        return clip
    return None
