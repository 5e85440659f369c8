"""Decoding of one clip's file to checked mono blocks, with libsndfile and numpy alone.

Header fields are claims, never facts: rate and channels are bounded before anything is allocated, frames are
counted as they are decoded, and every bound of AudioLimits is checked while decoding. The clip may still
crash or stall libsndfile, so untrusted files are decoded by core.decoding.child_process.decoder, in a child
process that runs this module; therefore it does not import torch.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile

from core.decoding.formats.codings import check_coding, check_subtype
from core.decoding.formats.container import check_container
from core.decoding.mixdown import Mixdown
from core.decoding.mixdown import Samples as Samples
from core.decoding.stream import Sound, Stream
from core.errors import AudioRejected

BLOCK_SAMPLES = 65_536
"""Decoded samples of one block, over all channels: 256 KiB."""


@dataclass(frozen=True)
class AudioLimits:
    """Bounds of a clip; the reason code of each is in brackets.

    Attributes:
        max_bytes: encoded size (too_large).
        min_duration, max_duration: seconds by counted frames (too_short, too_long).
        min_sample_rate, max_sample_rate: Hz (bad_rate).
        max_kernel_bytes: resampling kernel of the reduced rate ratio, see core.audio.resampling (bad_rate).
        max_channels: (bad_channels).
        max_expansion, min_bomb_bytes: decoded over encoded bytes, once the former pass a floor (bomb). A
            FLAC of little but silence passes both; an operator who has such clips raises the floor.
        min_peak_dbfs: dB of full scale, peak of the mono mix without offset (silent), unless allow_silent.
        max_peak_dbfs: dB of full scale, peak of any channel (too_loud).
        extra_codings: names of core.decoding.formats.codings that are decoded too (unsupported).
        decode_timeout, stall_timeout: seconds that one clip, and one block of it, may take (timeout).
    """

    max_bytes: int = 2 * 1024**3
    min_duration: float = 0.02
    max_duration: float = 6 * 3600.0
    min_sample_rate: int = 4_000
    max_sample_rate: int = 192_000
    max_kernel_bytes: int = 64 * 1024**2
    max_channels: int = 8
    max_expansion: float = 1000.0
    min_bomb_bytes: int = 64 * 1024**2
    min_peak_dbfs: float = -80.0
    max_peak_dbfs: float = 30.0
    allow_silent: bool = False
    extra_codings: tuple[str, ...] = ()
    decode_timeout: float = 600.0
    stall_timeout: float = 20.0


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True)
class AudioInfo:
    """Facts of a decoded clip. Frames are counted, not claimed; peak is linear, of the mono mix."""

    format: str
    sample_rate: int
    channels: int
    num_samples: int
    peak: float

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.num_samples / self.sample_rate


class AudioStream:
    """A clip being decoded: iterate once for its 1-D float32 mono blocks at `sample_rate`, then read `info`.

    Mono is the mean of the channels. Iterating raises AudioRejected when the clip exceeds a bound.
    """

    def __init__(self, sample_rate: int, blocks: Generator[Samples, None, AudioInfo]) -> None:
        self.sample_rate = sample_rate
        self._blocks = blocks
        self._info: AudioInfo | None = None

    def __iter__(self) -> Iterator[Samples]:
        if self._info is None:
            self._info = yield from self._blocks

    @property
    def info(self) -> AudioInfo:
        """Facts of the clip, known after the last block."""
        if self._info is None:
            raise ValueError("a clip's info is known when all its blocks are read: iterate over it first")
        return self._info


def open_audio(file: BinaryIO, limits: AudioLimits = DEFAULT_LIMITS) -> AudioStream:
    """Start decoding a real file from its first byte, in this process; the caller closes the file.

    Raises AudioRejected, now or while iterating, with any reason except `timeout`, which needs a process that
    can be killed (core.decoding.child_process.decoder), and the resampler's `bad_rate`
    (core.audio.resampling).
    """
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    if size > limits.max_bytes:
        raise AudioRejected("too_large", f"{size} bytes, the limit is {limits.max_bytes}")
    streams = check_container(descriptor, size)
    check_coding(descriptor, limits.extra_codings)
    sound = streams[0].open(descriptor)
    _check_header(sound, limits)
    sounds = _opened(descriptor, streams, sound)
    return AudioStream(sound.samplerate, _checked_blocks(sounds, sound, size, limits))


def _check_header(sound: Sound, limits: AudioLimits) -> None:
    low, high = limits.min_sample_rate, limits.max_sample_rate
    if not low <= sound.samplerate <= high:
        raise AudioRejected("bad_rate", f"{sound.samplerate} Hz, the limits are {low} and {high} Hz")
    check_subtype(sound.format, sound.subtype, limits.extra_codings)
    if sound.channels > limits.max_channels:
        raise AudioRejected("bad_channels", f"{sound.channels} channels, the limit is {limits.max_channels}")


def _opened(descriptor: int, streams: list[Stream], first: Sound) -> Iterator[tuple[Stream, Sound]]:
    """Yield each opened stream; joined streams must have the same form, since a clip has one rate."""
    yield streams[0], first
    for stream in streams[1:]:
        sound = stream.open(descriptor)
        if _form(sound) != _form(first):
            message = f"audio of {_form(first)} becomes one of {_form(sound)} at byte {stream.start}"
            raise AudioRejected("unread", message)
        yield stream, sound


def _form(sound: Sound) -> str:
    return f"{sound.format}, {sound.samplerate} Hz, {sound.channels} channels"


def _checked_blocks(
    sounds: Iterable[tuple[Stream, Sound]], first: Sound, encoded_bytes: int, limits: AudioLimits
) -> Generator[Samples, None, AudioInfo]:
    num_samples, mixdown = 0, Mixdown(first.channels, limits.max_peak_dbfs)
    for stream, sound in sounds:
        with sound:
            for block in _blocks(stream, sound):
                num_samples += len(block)
                _check_growth(sound, num_samples, encoded_bytes, limits)
                yield mixdown.mix(block)
    info = AudioInfo(first.format, first.samplerate, first.channels, num_samples, mixdown.peak)
    _check_whole(info, limits)
    mixdown.check(limits.min_peak_dbfs, limits.allow_silent)
    return info


def _blocks(stream: Stream, sound: Sound) -> Iterator[Samples]:
    """Yield the stream's blocks (frames, channels), and check that its end was reached."""
    position = 0
    while len(block := _read_block(stream, sound, position)):
        position += len(block)
        yield block
    stream.check_end(sound, position)


def _read_block(stream: Stream, sound: Sound, position: int) -> Samples:
    frames = min(BLOCK_SAMPLES // sound.channels, stream.frames_until_stop(sound, position))
    bytes_read = sound.position
    try:
        block: Samples = sound.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        if stream.ends_by_error(sound, position, bytes_read):
            return np.empty((0, sound.channels), np.float32)
        message = f"libsndfile: {error.error_string} (after {position} frames)"
        raise AudioRejected("unreadable", message) from error
    return block


def _check_growth(sound: Sound, num_samples: int, encoded_bytes: int, limits: AudioLimits) -> None:
    if num_samples > limits.max_duration * sound.samplerate:
        raise AudioRejected("too_long", f"over {limits.max_duration} s")
    decoded_bytes = num_samples * sound.channels * np.float32().itemsize
    if decoded_bytes > max(limits.min_bomb_bytes, limits.max_expansion * encoded_bytes):
        message = (
            f"{encoded_bytes} bytes decode to {decoded_bytes} and more, the limit is {limits.max_expansion}x"
        )
        raise AudioRejected("bomb", message)


def _check_whole(info: AudioInfo, limits: AudioLimits) -> None:
    if info.num_samples == 0:
        raise AudioRejected("empty", "no frame decodes")
    if info.duration < limits.min_duration:
        raise AudioRejected("too_short", f"{info.duration:.6f} s, the limit is {limits.min_duration} s")
