"""One clip's file -> checked mono blocks, by libsndfile and numpy alone.

Header fields are claims, never facts: rate and channels are bounded before anything is allocated, frames are
counted as they are decoded, and every bound of AudioLimits is kept while the counters run. The clip may still
crash or stall libsndfile, so untrusted files are decoded by core.decoder, in a child process that runs this
module; it therefore imports no torch.
"""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import soundfile

from core.container import check_container
from core.errors import AudioRejected, ReasonCode
from core.mixdown import Mixdown
from core.mixdown import Samples as Samples

BLOCK_SAMPLES = 65_536
"""Decoded samples of one block, over all channels: 256 KiB."""

_UNRECOGNISED_FORMAT = 1  # SF_ERR_UNRECOGNISED_FORMAT of sndfile.h
_UNKNOWN_FRAMES = 2**63 - 1  # libsndfile's count for a FLAC that does not know its own


@dataclass(frozen=True)
class AudioLimits:
    """Bounds of a clip; the reason code of each is in brackets.

    Attributes:
        max_bytes: encoded size (too_large).
        min_duration, max_duration: seconds by counted frames (too_short, too_long).
        min_sample_rate, max_sample_rate: Hz (bad_rate).
        max_kernel_bytes: resampling kernel of the reduced rate ratio, see core.audio (bad_rate).
        max_channels: (bad_channels).
        max_expansion, min_bomb_bytes: decoded over encoded bytes, once the former pass a floor (bomb).
        min_peak_dbfs: dB of full scale, peak of the mono mix without offset (silent), unless allow_silent.
        max_peak_dbfs: dB of full scale, peak of any channel (too_loud).
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
    decode_timeout: float = 600.0
    stall_timeout: float = 20.0


DEFAULT_LIMITS = AudioLimits()


@dataclass(frozen=True)
class AudioInfo:
    """Facts of a decoded clip: frames are counted, not claimed; peak is linear, of the mono mix."""

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

    Mono is the mean of the channels. Iterating raises AudioRejected when the clip breaks a bound.
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
        """Known once the last block was read."""
        if self._info is None:
            raise ValueError("a clip's info is known when all its blocks are read: iterate over it first")
        return self._info


def open_audio(file: BinaryIO, limits: AudioLimits = DEFAULT_LIMITS) -> AudioStream:
    """Start decoding a real file at its first byte, in this process; the caller keeps it open and closes it.

    Raises AudioRejected, then or while iterating, with any reason code but `timeout`, which needs a process
    that can be killed (core.decoder), and the resampler's `bad_rate` (core.audio).
    """
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    if size > limits.max_bytes:
        raise AudioRejected("too_large", f"{size} bytes, the limit is {limits.max_bytes}")
    check_container(descriptor, size)
    sound = _open_sound(descriptor)
    _check_header(sound, limits)
    return AudioStream(sound.samplerate, _checked_blocks(sound, size, limits))


class _ForwardSound(soundfile.SoundFile):  # type: ignore[misc]  # the package is not followed
    """Reads forward only: soundfile seeks after every read where it can, which fails on damaged files."""

    def seekable(self) -> bool:
        return False

    @property
    def all_read(self) -> bool:
        return os.lseek(self.name, 0, os.SEEK_CUR) == os.fstat(self.name).st_size


def _open_sound(descriptor: int) -> _ForwardSound:
    try:
        # By descriptor, since given a path libsndfile lets the name's extension decide.
        return _ForwardSound(descriptor, closefd=False)
    except soundfile.LibsndfileError as error:
        reason: ReasonCode = "unsupported" if error.code == _UNRECOGNISED_FORMAT else "unreadable"
        raise AudioRejected(reason, f"libsndfile: {error.error_string}") from error


def _check_header(sound: _ForwardSound, limits: AudioLimits) -> None:
    low, high = limits.min_sample_rate, limits.max_sample_rate
    if not low <= sound.samplerate <= high:
        raise AudioRejected("bad_rate", f"{sound.samplerate} Hz, the limits are {low} and {high} Hz")
    if sound.channels > limits.max_channels:
        raise AudioRejected("bad_channels", f"{sound.channels} channels, the limit is {limits.max_channels}")


def _checked_blocks(
    sound: _ForwardSound, encoded_bytes: int, limits: AudioLimits
) -> Generator[Samples, None, AudioInfo]:
    num_samples, mixdown = 0, Mixdown(sound.channels, limits.max_peak_dbfs)
    with sound:
        while len(block := _read_block(sound, num_samples)):
            num_samples += len(block)
            _check_growth(sound, num_samples, encoded_bytes, limits)
            yield mixdown.mix(block)
        info = AudioInfo(sound.format, sound.samplerate, sound.channels, num_samples, mixdown.peak)
        _check_count(sound, num_samples)
    _check_whole(info, limits)
    mixdown.check(limits.min_peak_dbfs, limits.allow_silent)
    return info


def _read_block(sound: _ForwardSound, position: int) -> Samples:
    """The next (frames, channels), none at the end; asking past the claimed end upsets the MP3 decoder."""
    frames = min(BLOCK_SAMPLES // sound.channels, sound.frames - position)
    try:
        block: Samples = sound.read(frames, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError as error:
        # A FLAC that breaks off is read to its end before libsndfile gives up, a damaged one is not.
        if sound.format == "FLAC" and sound.all_read:
            _check_count(sound, position)
        message = f"libsndfile: {error.error_string} (after {position} frames)"
        raise AudioRejected("unreadable", message) from error
    return block


def _check_count(sound: _ForwardSound, num_samples: int) -> None:
    """FLAC alone counts its frames exactly.

    An MP3's count is an estimate, Ogg's is the position of its last page, and those of WAV and AIFF are what
    libsndfile made of the bytes there are (core.container holds them to their promise).
    """
    if sound.format == "FLAC" and num_samples < sound.frames != _UNKNOWN_FRAMES:
        raise AudioRejected("truncated", f"the header promises {sound.frames} frames, the file holds fewer")


def _check_growth(sound: _ForwardSound, num_samples: int, encoded_bytes: int, limits: AudioLimits) -> None:
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
