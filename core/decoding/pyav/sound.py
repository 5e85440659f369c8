"""Decoding of phone and browser recordings (m4a, mp4, mov, 3gp, aac, webm, mkv) by PyAV, if installed.

libav gets the name of the container, so that it guesses nothing, reads only the given file, through Python,
and may use only the audio codecs listed here.
"""

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from core.decoding.audio_stream import Samples
from core.errors import AudioRejected

if TYPE_CHECKING:
    from av import AudioFrame, AudioStream
    from av.container import InputContainer

CODECS = (
    *("aac", "alac", "mp3", "mp3float", "opus", "vorbis", "flac", "amrnb", "amrwb", "pcm_alaw", "pcm_mulaw"),
    *("pcm_u8", "pcm_s16le", "pcm_s16be", "pcm_s24le", "pcm_s24be", "pcm_s32le", "pcm_f32le", "pcm_f32be"),
)
FORMATS = {"mov": "MP4", "matroska": "MATROSKA", "aac": "ADTS"}
"""libav's name of each container -> the name of its format."""


@cache
def find_av() -> Any:
    """Return PyAV, or None if it is not installed. A process calls this before it is confined."""
    try:
        import av
    except ImportError:
        return None
    return av


class AvSound:
    """A file opened for reading forward, with the methods of soundfile.SoundFile that decoding uses.

    Close it.

    Raises AudioRejected, now or while reading.
    """

    subtype = ""  # libav's codecs have a list of their own
    position = 0  # libav reads ahead, so its position in the file means nothing

    def __init__(self, descriptor: int, container: str) -> None:
        self.format = FORMATS[container]
        with _rejections():
            self._container = _open(descriptor, container)
        try:
            self._stream = _only_stream(self._container)
            frames = self._decode()
            first = next(frames, None)
            self._blocks = map(_samples, chain(filter(None, [first]), frames))
        except BaseException:
            self.close()
            raise
        # As decoded, where anything is: the header of an AAC file may name half the rate.
        self.samplerate, self.channels = _form(first) if first else _claimed_form(self._stream)
        self._held = np.empty((0, self.channels), np.float32)

    @property
    def claimed_seconds(self) -> float:
        """Duration that the container states for this stream alone, 0 if it states none."""
        if self._stream.duration and self._stream.time_base and self.format == "MP4":
            return float(self._stream.duration * self._stream.time_base)
        if self._container.duration and self.format == "MATROSKA" and len(self._container.streams) == 1:
            return float(self._container.duration / 1e6)
        return 0.0

    def read(self, frames: int, **_: object) -> Samples:
        """Return the next float32 samples (frames, channels), fewer at the end."""
        blocks, have = [self._held], len(self._held)
        while have < frames and (block := next(self._blocks, None)) is not None:
            blocks.append(block)
            have += len(block)
        joined = np.concatenate(blocks)
        self._held = joined[frames:]
        return joined[:frames]

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self) -> "Iterator[AudioFrame]":
        form = None
        with _rejections():
            for frame in self._container.decode(self._stream):
                form = form or _form(frame)
                if frame.is_corrupt:
                    raise AudioRejected("unreadable", "libav: a damaged frame")
                if _form(frame) != form:
                    message = f"the audio changes from {form} to {_form(frame)} (rate, channels)"
                    raise AudioRejected("unread", message)
                yield frame


def _open(descriptor: int, container: str) -> "InputContainer":
    os.lseek(descriptor, 0, os.SEEK_SET)
    opened: InputContainer = find_av().open(
        io.FileIO(descriptor, closefd=False),
        format=container,
        container_options={"codec_whitelist": ",".join(CODECS)},
        metadata_errors="replace",
        io_open=_refuse,
    )
    return opened


def _refuse(url: str, *_: object) -> None:
    raise PermissionError(f"a clip may not name another file: {url!r}")


def _only_stream(container: "InputContainer") -> "AudioStream":
    """Return the audio stream. A file with several is rejected, since it is unknown which one is meant."""
    streams = container.streams.audio
    if not streams:
        raise AudioRejected("unsupported", "the file holds no audio stream")
    if len(streams) > 1:
        message = f"{len(streams)} audio streams in one file: store the intended one in a file of its own"
        raise AudioRejected("unread", message)
    codec = streams[0].codec_context.name if streams[0].codec_context else "unknown"
    if codec not in CODECS:
        message = f"the coding is {codec}: convert it to FLAC, or one of {', '.join(CODECS)}"
        raise AudioRejected("unsupported", message)
    streams[0].codec_context.thread_count = 1
    return streams[0]


def _form(frame: "AudioFrame") -> tuple[int, int]:
    return frame.sample_rate, frame.layout.nb_channels


def _claimed_form(stream: "AudioStream") -> tuple[int, int]:
    return stream.codec_context.sample_rate or 0, max(1, stream.codec_context.channels)


def _samples(frame: "AudioFrame") -> Samples:
    """Return a frame as float32 (frames, channels), with full scale 1."""
    values: npt.NDArray[Any] = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(128) - np.float32(1)
    if np.issubdtype(values.dtype, np.integer):
        return (values / 2.0 ** (8 * values.itemsize - 1)).astype(np.float32)
    return values.astype(np.float32, copy=False)


@contextmanager
def _rejections() -> Iterator[None]:
    """Convert the errors of libav to rejections of the clip."""
    av = find_av()
    try:
        yield
    except Exception as error:
        if isinstance(error, av.FFmpegError):
            raise AudioRejected("unreadable", f"libav: {error.strerror}") from error
        raise
