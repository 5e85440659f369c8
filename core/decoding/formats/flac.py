"""FLAC: joined files, and counts of samples that are too small."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass

from core.decoding.formats.tags import check_tail, end_before_tags
from core.decoding.stream import RewrittenStream, Sound, Stream, check_count
from core.errors import AudioRejected

_SIGNATURE = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
"""The marker of a FLAC and the header of the block that must follow it."""
_SIGNATURE_BYTES = 8
_COUNT_START, _COUNT_END = 21, 26
_MAX_METADATA_BLOCKS = 10_000
_READ_BYTES = 1024**2
_UNLIMITED_FRAMES = 2**31


@dataclass(frozen=True, kw_only=True)
class FlacStream(RewrittenStream):
    """A FLAC that is opened with unknown length, so that all of it is read.

    `head` has no frame count; `promised` is the original count, or 0.
    """

    promised: int

    def frames_until_stop(self, sound: Sound, position: int) -> int:
        return self.promised - position if position < self.promised else _UNLIMITED_FRAMES

    def ends_by_error(self, sound: Sound, position: int, bytes_read: int) -> bool:
        """Accept an error at the promised count, where a tag or padding may follow.

        A cut FLAC gives an error at its end too; there the frame count is checked.
        """
        if 0 < self.promised == position:
            check_tail(sound.name.descriptor, bytes_read, self.end)
            return True
        if sound.position >= self.end:
            self.check_end(sound, position)
        return False

    def check_end(self, sound: Sound, position: int) -> None:
        if position < self.promised:
            message = f"the header promises {self.promised} frames, the file holds {position}"
            raise AudioRejected("truncated", message)


def flac_streams(descriptor: int, base: int, size: int) -> list[Stream]:
    """Return each FLAC of a file that begins with one at `base`.

    Raises AudioRejected: `truncated` when the last one is only a header, `unread` for too many.
    """
    starts = [base]
    for start in _later_starts(descriptor, base, size):
        check_count(len(starts) + 1)
        starts.append(start)
    pairs = zip(starts, [*starts[1:], size], strict=True)
    return [_flac_stream(descriptor, start, end_before_tags(descriptor, start, end)) for start, end in pairs]


def _flac_stream(descriptor: int, start: int, end: int) -> FlacStream:
    head = bytearray(os.pread(descriptor, _COUNT_END, start))
    if len(head) < _COUNT_END:
        raise AudioRejected("truncated", "the file ends in the header of a FLAC")
    promised = int.from_bytes(head[_COUNT_START:], "big") & (1 << 36) - 1
    head[_COUNT_START:] = bytes([head[_COUNT_START] & 0xF0, 0, 0, 0, 0])
    return FlacStream(start, end, is_file=False, head=bytes(head), promised=promised)


def _later_starts(descriptor: int, base: int, size: int) -> Iterator[int]:
    start = _end_of_metadata(descriptor, base)
    while start < size:
        part = os.pread(descriptor, _READ_BYTES + _SIGNATURE_BYTES - 1, start)
        yield from (start + found.start() for found in _SIGNATURE.finditer(part))
        start += _READ_BYTES


def _end_of_metadata(descriptor: int, base: int) -> int:
    """Return the start of the audio; a picture or a cue sheet before it may contain any bytes."""
    start = base + 4
    for _ in range(_MAX_METADATA_BLOCKS):
        header = os.pread(descriptor, 4, start)
        if len(header) < 4:
            break
        start += 4 + int.from_bytes(header[1:], "big")
        if header[0] & 0x80:
            break
    return start
