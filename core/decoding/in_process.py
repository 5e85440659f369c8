"""Decoding of one clip's file to checked mono blocks, with libsndfile and numpy alone.

Header fields are claims, never facts: rate and channels are bounded before anything is allocated, frames are
counted as they are decoded, and every bound of AudioLimits is checked while decoding. The clip may still
crash or stall libsndfile, so untrusted files are decoded by core.decoding.child_process.decoder, in a child
process that runs this module; therefore it does not import torch.
"""

import os
from collections.abc import Generator, Iterable, Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from core.decoding.audio_stream import (
    BLOCK_SAMPLES,
    DEFAULT_LIMITS,
    AudioInfo,
    AudioLimits,
    AudioStream,
    Samples,
)
from core.decoding.formats.codings import check_coding, check_subtype
from core.decoding.formats.container import check_container
from core.decoding.mixdown import Mixdown
from core.decoding.stream import Sound, Stream
from core.errors import AudioRejected


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
