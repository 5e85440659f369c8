"""A part of a file that libsndfile decodes separately."""

import os
from dataclasses import dataclass

import soundfile

from core.errors import AudioRejected, ReasonCode

_UNRECOGNIZED_FORMAT = 1  # SF_ERR_UNRECOGNISED_FORMAT of sndfile.h

_MAX_STREAMS = 1_000
_SLACK_BYTES = 4096
"""Bytes that may remain after decoding, such as an incomplete frame."""


class Sound(soundfile.SoundFile):  # type: ignore[misc]  # the package is not followed
    """A file read forward only: soundfile seeks after every read if it can, which fails on damaged files."""

    def seekable(self) -> bool:
        return False

    @property
    def position(self) -> int:
        """Byte of the file up to which libsndfile has read."""
        return self.name.position if isinstance(self.name, ByteView) else os.lseek(self.name, 0, os.SEEK_CUR)


class ByteView:
    """A file object with the bytes `head`, then those of a real file from `start` to `end`.

    It can claim to be longer, for a decoder that relies on the length.
    """

    def __init__(self, descriptor: int, head: bytes, start: int, end: int, claimed_bytes: int = 0) -> None:
        self.descriptor = descriptor
        self._head, self._start = head, start
        self._length = len(head) + end - start
        self._claimed_length = max(self._length, claimed_bytes)
        self._offset = 0

    @property
    def position(self) -> int:
        """Next byte of the real file."""
        return self._start + max(0, self._offset - len(self._head))

    def readinto(self, buffer: memoryview) -> int:
        """Fill a buffer as far as bytes remain.

        Returns zeros past the real end, where a decoder looks for a tag before the claimed end.
        """
        if self._offset > self._length:
            data = bytes(min(len(buffer), self._claimed_length - self._offset))
        else:
            size = min(len(buffer), self._length - self._offset)
            data = self._head[self._offset : self._offset + size]
            data += os.pread(self.descriptor, size - len(data), self.position)
        buffer[: len(data)] = data
        self._offset += len(data)
        return len(data)

    read = readinto  # soundfile asks for one of both names, and uses the other

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to an offset within the view."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._offset, os.SEEK_END: self._claimed_length}[whence]
        self._offset = min(max(0, base + offset), self._claimed_length)
        return self._offset

    def tell(self) -> int:
        """Return the offset within the view."""
        return self._offset


@dataclass(frozen=True)
class Stream:
    """Bytes from `start` to `end` that decode separately; `is_file` if they are the whole file."""

    start: int
    end: int
    is_file: bool = True

    def open(self, descriptor: int) -> Sound:
        """Open the stream for reading. Raises AudioRejected when libsndfile refuses it."""
        return open_sound(descriptor if self.is_file else ByteView(descriptor, b"", self.start, self.end))

    def frames_until_stop(self, sound: Sound, position: int) -> int:
        """Return how many frames to request; reading past the claimed end confuses the MP3 decoder."""
        frames: int = sound.frames - position
        return frames

    def ends_by_error(self, sound: Sound, position: int, bytes_read: int) -> bool:
        """Return whether an error of the decoder after `position` frames only means the end of the audio.

        `bytes_read` is the position before the error. Raises AudioRejected when the file is known to be cut.
        """
        return False

    def check_end(self, sound: Sound, position: int) -> None:
        """Raise AudioRejected (`unread`) when decoding ended before the bytes did."""
        left = self.end - sound.position
        if left > _SLACK_BYTES:
            raise AudioRejected("unread", f"decoding ended after {position} frames with {left} bytes left")


@dataclass(frozen=True, kw_only=True)
class RewrittenStream(Stream):
    """A stream whose first bytes are replaced by `head`, of equal length."""

    head: bytes

    def open(self, descriptor: int) -> Sound:
        return open_sound(ByteView(descriptor, self.head, self.start + len(self.head), self.end))


def check_count(num_streams: int) -> None:
    """Raise AudioRejected (`unread`) for more joined streams than anyone stores as one clip."""
    if num_streams > _MAX_STREAMS:
        raise AudioRejected("unread", f"over {_MAX_STREAMS} joined streams")


def open_sound(file: int | ByteView) -> Sound:
    """Open a file by descriptor or view; with a path, libsndfile would go by the file extension."""
    if isinstance(file, int):
        os.lseek(file, 0, os.SEEK_SET)
    try:
        return Sound(file, closefd=False)
    except soundfile.LibsndfileError as error:
        reason: ReasonCode = "unsupported" if error.code == _UNRECOGNIZED_FORMAT else "unreadable"
        raise AudioRejected(reason, f"libsndfile: {error.error_string}") from error
