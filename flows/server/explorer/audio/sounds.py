"""Sounds as browsers can play them, and their spectrograms. Files from outside are decoded in a child."""

import os
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from threading import Lock, local
from typing import Any

import numpy as np
import soundfile
from cachetools import LRUCache
from numpy.typing import NDArray

from core.decoding.child_process.decoder import ClipDecoder
from flows.pipeline.configuration.settings import Settings
from flows.server.explorer.audio.copies import Copies, Copy

PLAYABLE = {"FLAC": "audio/flac", "OGG": "audio/ogg", "MP3": "audio/mpeg"}
"""Formats, as decoding found them, that browsers play as they are."""
WAV = "audio/wav"
_PLAYABLE_BITS = {8, 16, 24}
_PCM, _EXTENSIBLE = 0x0001, 0xFFFE
_HEAD_BYTES = 4096
MAX_SECONDS = 3600.0
"""Longer clips are neither converted nor drawn."""
MAX_CACHED_BYTES = 128 * 1024**2
THREADS = 2

Samples = NDArray[np.float32]


@dataclass(frozen=True)
class Source:
    """An object with sound. Format and digest are those of its decoding, None if it was never decoded."""

    uri: str
    format: str | None
    sha256: bytes | None


class Sounds:
    """Sounds and pictures of objects. Call `close` at the end."""

    def __init__(self, settings: Settings) -> None:
        self._copies = Copies(settings)
        # a person may listen to what was set aside as silent
        self._limits = replace(
            settings.audio_limits, allow_silent=True, max_duration=MAX_SECONDS, decode_timeout=60.0
        )
        self._thread = local()
        self._decoders: list[ClipDecoder] = []
        self._decoding = ThreadPoolExecutor(THREADS, "explore-decode", self._add_decoder)
        self._made: LRUCache[tuple[str, bytes, Any], Any] = LRUCache(
            MAX_CACHED_BYTES, getsizeof=lambda made: made.size if isinstance(made, Copy) else len(made)
        )
        self._lock = Lock()

    def _add_decoder(self) -> None:
        self._thread.decoder = ClipDecoder(self._limits)
        self._decoders.append(self._thread.decoder)

    def playable(self, source: Source) -> tuple[Copy, str]:
        """Return the sound and its media type: the object itself, or a mono FLAC copy of it.

        Raises ObjectChanged, StorageError and AudioRejected.
        """
        copy = self._copies.get(source.uri, source.sha256)
        media_type = PLAYABLE.get(source.format or "") or (WAV if _is_plain_wav(source, copy) else None)
        if media_type:
            return copy, media_type
        return self._decoding.submit(self._as_flac, copy).result(), "audio/flac"

    def _as_flac(self, copy: Copy) -> Copy:
        stream = self._thread.decoder.open(copy.path)
        form = {"channels": 1, "subtype": "PCM_16", "format": "FLAC"}
        with tempfile.TemporaryFile() as file:
            with soundfile.SoundFile(file, "w", stream.sample_rate, **form) as made:
                for block in stream:
                    made.write(np.clip(block, -1.0, 1.0))
            return Copy(os.dup(file.fileno()), file.seek(0, os.SEEK_END))

    def spectrogram(self, source: Source, begins: float, seconds: float) -> bytes:
        """Return a PNG of a part of the sound: 100 pixels a second, 80 mel bands up to 8 kHz.

        Raises the errors of `playable`.
        """
        key = (source.uri, source.sha256 or b"", begins)
        copy = self._copies.get(source.uri, source.sha256)
        with self._lock:
            if kept := self._made.get(key):
                return bytes(kept)
        png = self._decoding.submit(self._draw, copy, begins, seconds).result()
        with self._lock:
            self._made[key] = png
        return png

    def _draw(self, copy: Copy, begins: float, seconds: float) -> bytes:
        from core.audio.picture import draw_levels, mel_levels  # torch takes seconds to import

        stream = self._thread.decoder.open(copy.path)
        first = round(begins * stream.sample_rate)
        samples = _part(iter(stream), first, first + round(seconds * stream.sample_rate))
        if not len(samples):
            raise ValueError("the clip ends before the part that is asked for")
        return draw_levels(mel_levels(samples, stream.sample_rate))

    def close(self) -> None:
        """End the threads and their child processes."""
        self._decoding.shutdown(cancel_futures=True)
        for decoder in self._decoders:
            decoder.close()


def _is_plain_wav(source: Source, copy: Copy) -> bool:
    """Return whether a decoded clip is a WAV file of whole numbers, by the fields of its header."""
    if source.format not in ("WAV", "WAVEX"):
        return False
    head = os.pread(copy.descriptor, _HEAD_BYTES, 0)
    fields = head[head.find(b"fmt ") + 8 :] if b"fmt " in head else b""
    if len(fields) < 40:
        return False
    kind, bits = (int.from_bytes(fields[at : at + 2], "little") for at in (0, 14))
    if kind == _EXTENSIBLE:
        kind = int.from_bytes(fields[24:26], "little")
    return kind == _PCM and bits in _PLAYABLE_BITS


def _part(blocks: Iterator[Samples], first: int, last: int) -> Samples:
    """Return the samples from `first` to `last`. What comes after them is not decoded."""
    found, at = [], 0
    for block in blocks:
        found.append(block[max(first - at, 0) : max(last - at, 0)])
        at += len(block)
        if at >= last:
            break
    return np.concatenate(found)
