"""What a page shows of stored audio: excerpts of answers and of clips, and measures of a library's pairs."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import soundfile

from core.decoding.audio_stream import Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected
from db.denoising_measures import PairMeasure, get_measures
from db.engine import session_scope
from db.generated import StoredAudio, other_audio_of_contents
from db.libraries import LibraryVersion
from flows.pipeline.generation.clip_audio import beginning, fetch_content
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from flows.pipeline.generation.page.page import Item, Words


@dataclass(frozen=True)
class PageContent:
    """What a page shows, by whatever method."""

    prompt_text: str
    demonstrations: tuple[Item, ...]
    answers: tuple[Item, ...]
    aligned: tuple[Words, Words] | None = None


class StoredItems:
    """Items about clips and pairs of a library, with the first `seconds` of each audio. To be closed."""

    def __init__(self, runtime: Runtime, library: LibraryVersion, method: str, seconds: float) -> None:
        self._runtime, self._library, self._method, self._seconds = runtime, library, method, seconds
        self._decoder = ClipDecoder(runtime.settings.audio_limits)

    def close(self) -> None:
        """End the decoding child process, which the first clip starts."""
        self._decoder.close()

    def answers(self, answered: Sequence[tuple[str, bytes, StoredAudio]]) -> Iterator[Item]:
        """Yield answers, given by name, noisy content and row; one whose object is lost is left out.

        The clip's own audio is with it, where that can still be read.
        """
        from flows.pipeline.generation.page.page import Item

        others = self.others({content for _, content, _ in answered})
        for name, content, audio in answered:
            if (wav := self._of_object(audio)) is not None:
                metrics = {**audio.metrics, **self.metrics(content)}
                noisy, own = self._of_clip(content), f"answer, {audio.method}"
                yield Item(name, wav, metrics, noisy, audio.duration, own, others.get(content, ()))

    def pairs(self, limit: int) -> Iterator[Item]:
        """Yield the first pairs of the library that can still be read."""
        from flows.pipeline.generation.page.page import Item

        for row in islice(self._library.demonstrations, limit):
            assert row.target_content_sha256
            clean = self._of_clip(row.target_content_sha256)
            if clean is not None:
                noisy = self._of_clip(row.content_sha256)
                yield Item(row.uri, clean, self.metrics(row.content_sha256), noisy)

    def others(self, contents: Collection[bytes]) -> dict[bytes, tuple[tuple[str, bytes], ...]]:
        """Return what other methods made of these noisy contents, by content: names and wav files."""
        with session_scope(self._runtime.engine) as session:
            found = other_audio_of_contents(session, self._library.id, contents, self._method)
        wavs = {
            content: [(audio.method, self._of_object(audio)) for audio in made]
            for content, made in found.items()
        }
        return {
            content: tuple((name, wav) for name, wav in made if wav is not None)
            for content, made in wavs.items()
        }

    def metrics(self, content_sha256: bytes) -> dict[str, float]:
        """Return what each method was measured at on a pair, the newest of each."""
        newest = {one.method: one for one in self._measures if one.content_sha256 == content_sha256}
        stoi = {f"STOI, {name}": one.stoi for name, one in newest.items() if one.stoi is not None}
        return stoi | {f"SI-SDR dB, {name}": one.si_sdr for name, one in newest.items()}

    @cached_property
    def _measures(self) -> Sequence[PairMeasure]:
        with session_scope(self._runtime.engine) as session:
            return get_measures(session, self._library.id)

    def _of_object(self, audio: StoredAudio) -> bytes | None:
        """Return the beginning of a generated object, None for one that is missing or changed."""
        storage = self._runtime.storage(audio.uri)
        if (listed := storage.find(audio.uri)) is None:
            return None
        with storage.read(audio.uri, listed.version_token, listed.size) as fetched:
            if fetched.sha256 != audio.sha256:
                return None
            with soundfile.SoundFile(fetched.path) as file:
                samples = file.read(round(self._seconds * file.samplerate), dtype="float32")
                return _wav(samples, file.samplerate)

    def _of_clip(self, content_sha256: bytes) -> bytes | None:
        """Return the beginning of a clip's own audio, None for one that cannot be read any more."""
        try:
            with ExitStack() as files:
                stream = self._decoder.open(fetch_content(self._runtime, content_sha256, files).path)
                samples = beginning(stream, round(self._seconds * stream.sample_rate))
                return _wav(samples, stream.sample_rate)
        except AudioRejected:
            return None


def _wav(samples: Samples, sample_rate: int) -> bytes:
    import torch

    from core.audio.resampling import wav_bytes

    return wav_bytes(torch.from_numpy(np.ascontiguousarray(samples)), sample_rate)
