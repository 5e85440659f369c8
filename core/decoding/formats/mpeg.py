"""MPEG audio, layers II and III (mp3), counted by its frames, since a header with the count is optional.

Without a Xing, Info or VBRI frame, libsndfile estimates the length from the bit rate of the first frames and
drops the rest. With one, it drops everything after the count: the second of two joined files.
"""

import struct
from dataclasses import dataclass
from typing import NamedTuple

from core.decoding.formats.mpeg_frames import HEADER_BYTES, FileWindow, Format, Frame, read_frame
from core.decoding.formats.tags import check_tail, skip_tags
from core.decoding.stream import ByteView, Sound, Stream, check_count, open_sound
from core.errors import AudioRejected

_MIN_FRAMES_IN_A_ROW = 3
"""Consecutive headers needed to take arbitrary bytes for frames."""
_MAX_LOST_FRAMES = 8
"""Frames that a decoder may drop from a stream that was cut out of a longer one."""

_LAYER_3 = 3
_MAX_FRAME_BYTES = 2881
_MARKS = (b"Xing", b"Info", b"VBRI")
_MARK_SEARCH_BYTES = 48
_VBRI_OFFSET, _VBRI_COUNTS_OFFSET = 36, 46
_PROMISE_BYTES = 256
_HAS_FRAMES, _HAS_BYTES, _HAS_TABLE, _HAS_QUALITY = 1, 2, 4, 8


class Promise(NamedTuple):
    """The promise of a stream's first frame: frames and bytes (0 for unknown), and samples to trim."""

    frames: int
    bytes: int
    trimmed: int = 0


@dataclass(frozen=True, kw_only=True)
class MpegStream(Stream):
    """Frames of one format, with the first audio frame at byte `first`."""

    format: Format
    first: int
    frames: int
    promise: Promise

    def open(self, descriptor: int) -> Sound:
        """Open the stream so that no frame is dropped, even if the first frame counts too few.

        In that case it is opened without that frame and with a larger claimed length, so that libsndfile's
        estimate is not too small.
        """
        sound = super().open(descriptor)
        if sound.frames >= self._fewest_samples(1):
            return sound
        sound.close()
        claimed = (self.frames + 1) * _MAX_FRAME_BYTES
        return open_sound(ByteView(descriptor, b"", self.first, self.end, claimed))

    def check_end(self, sound: Sound, position: int) -> None:
        if position < self._fewest_samples(_MAX_LOST_FRAMES):
            message = f"{self.frames} MPEG frames were counted, {position} samples decode"
            raise AudioRejected("unread", message)

    def _fewest_samples(self, frames_missing: int) -> int:
        return (self.frames - frames_missing) * self.format.samples - self.promise.trimmed


def mpeg_streams(descriptor: int, base: int, size: int) -> list[Stream]:
    """Return each stream of a file with MPEG audio at `base`, possibly after padding.

    Raises AudioRejected: `truncated` for a broken promise, `unread` for a change of format, or for other
    bytes after the last frame.
    """
    walk = _Walk(descriptor, size)
    offset = base
    while offset < size:
        offset = walk.step(offset)
    if not walk.sections:  # frames of a free bit rate, which are not counted, or none at all
        return [Stream(0, size)]
    check_tail(descriptor, walk.sections[-1].end, walk.audio_end)
    for section in walk.sections:
        section.check(walk.audio_end if section is walk.sections[-1] else section.end)
    return [section.stream(is_file=len(walk.sections) == 1) for section in walk.sections]


@dataclass
class _Section:
    """A stream whose frames are being counted."""

    start: int
    first: int
    format: Format
    promise: Promise
    end: int = 0
    frames: int = 0

    def check(self, end: int) -> None:
        """Raise AudioRejected when the bytes up to `end` do not keep the promise.

        Some writers count the frame of the promise too: one frame may be missing if all bytes are there.
        """
        frames, size, _ = self.promise
        lacks_bytes = end - self.start < size
        is_cut = lacks_bytes or end > self.end
        if self.frames < frames - 1 or (self.frames == frames - 1 and is_cut) or (not frames and lacks_bytes):
            held = f"{self.frames} frames in {end - self.start} bytes"
            raise AudioRejected(
                "truncated", f"the header promises {frames} frames, {size} bytes; there are {held}"
            )

    def stream(self, is_file: bool) -> MpegStream:
        return MpegStream(
            self.start,
            self.end,
            is_file,
            format=self.format,
            first=self.first,
            frames=self.frames,
            promise=self.promise,
        )


class _Walk:
    """A walk through a file, frame by frame, that skips other bytes."""

    def __init__(self, descriptor: int, size: int) -> None:
        self._descriptor, self._size = descriptor, size
        self._window = FileWindow(descriptor)
        self._is_interrupted = True
        self.sections: list[_Section] = []
        self.audio_end = size

    def step(self, offset: int) -> int:
        """Process the bytes at an offset, and return the next offset."""
        head = self._window.read(offset, _MARK_SEARCH_BYTES)
        frame = read_frame(head)
        if frame and (self._follows(offset, frame) or self._is_chain(offset, frame.format)):
            return self._take(offset, head, frame)
        after = skip_tags(self._descriptor, offset)
        self._is_interrupted |= after > offset
        return after if after > offset else self._window.find(b"\xff", offset + 1, self._size)

    def _follows(self, offset: int, frame: Frame) -> bool:
        last = self.sections[-1] if self.sections else None
        return last is not None and last.end == offset and last.format == frame.format

    def _is_chain(self, offset: int, form: Format) -> bool:
        for count in range(_MIN_FRAMES_IN_A_ROW):
            frame = read_frame(self._window.read(offset, HEADER_BYTES))
            if not frame or frame.format != form:
                return count > 0 and (offset == self._size or skip_tags(self._descriptor, offset) > offset)
            offset += frame.length
        return True

    def _take(self, offset: int, head: bytes, frame: Frame) -> int:
        end = offset + frame.length
        if end > self._size:
            self.audio_end = offset
            return self._size
        if self.sections and self.sections[-1].format != frame.format:
            before, now = self.sections[-1].format, frame.format
            message = f"MPEG audio of {before} becomes one of {now} at byte {offset}: send each by itself"
            raise AudioRejected("unread", message)
        promise = self._promise(offset, head, frame.format)
        if promise or self._is_interrupted:
            check_count(len(self.sections) + 1)
            first = end if promise else offset
            section = _Section(offset, first, frame.format, promise or Promise(0, 0))
            self.sections.append(section)
        self.sections[-1].frames += not promise
        self.sections[-1].end = end
        self._is_interrupted = False
        return end

    def _promise(self, offset: int, head: bytes, form: Format) -> Promise | None:
        if form.layer != _LAYER_3 or not any(mark in head for mark in _MARKS):
            return None
        data = self._window.read(offset, _PROMISE_BYTES)
        return _vbri_promise(data) or _xing_promise(data, HEADER_BYTES + form.side_info_bytes)


def _vbri_promise(data: bytes) -> Promise | None:
    if not data.startswith(b"VBRI", _VBRI_OFFSET) or len(data) < _VBRI_COUNTS_OFFSET + 8:
        return None
    size, frames = struct.unpack_from(">II", data, _VBRI_COUNTS_OFFSET)
    return Promise(frames, size)


def _xing_promise(data: bytes, offset: int) -> Promise | None:
    """Parse a Xing frame; its marker is where a frame's audio begins, or after the optional checksum."""
    offset = next((at for at in (offset, offset + 2) if data.startswith((b"Xing", b"Info"), at)), 0)
    fields = data[offset + 8 :]
    if not offset or len(fields) < _PROMISE_BYTES // 2:
        return None
    flags, values = data[offset + 7], struct.unpack_from(">II", fields)
    frames = values[0] if flags & _HAS_FRAMES else 0
    size = values[bool(frames)] if flags & _HAS_BYTES else 0
    sizes = {_HAS_FRAMES: 4, _HAS_BYTES: 4, _HAS_TABLE: 100, _HAS_QUALITY: 4}
    encoder = fields[sum(length for flag, length in sizes.items() if flags & flag) :]
    return Promise(frames, size, _trimmed(encoder))


def _trimmed(encoder: bytes) -> int:
    """Return the samples to trim at the beginning and the end, from the encoder's part of the frame."""
    if len(encoder) < 24 or not encoder[0]:
        return 0
    both = int.from_bytes(encoder[21:24], "big")
    return (both >> 12) + (both & 0xFFF)
