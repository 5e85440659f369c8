"""Checks of the frames of an AAC file (ADTS; ISO/IEC 13818-7, 6.2)."""

import os
from collections.abc import Iterator

from core.errors import AudioRejected

_HEADER_BYTES = 7
_TAG_MARKS = (b"TAG", b"APETAGE", b"LYRICSB")  # what taggers append


def check_frames(descriptor: int, size: int) -> None:
    """Raise AudioRejected when a frame is cut, the format changes, or other bytes follow the last frame.

    A file cut exactly between two frames passes.
    """
    formats, end = set(), 0
    for header, frame_end in _frames(descriptor):
        formats.add((header[2] & 0xFD, header[3] & 0xC0))  # profile, rate and channels
        end = frame_end
    if len(formats) > 1:
        raise AudioRejected("unread", "the rate or the channels change: store each recording by itself")
    rest = os.pread(descriptor, _HEADER_BYTES, end)
    if end > size or (len(rest) < _HEADER_BYTES and rest.startswith(b"\xff")):
        raise AudioRejected("truncated", f"the last frame is cut: the file ends at byte {size}")
    if rest.strip(b"\0") and not rest.startswith(_TAG_MARKS):
        raise AudioRejected("unread", f"the bytes from {end} on are not a frame")


def _frames(descriptor: int) -> Iterator[tuple[bytes, int]]:
    """Yield the header and the claimed end of each frame."""
    offset = 0
    while len(header := os.pread(descriptor, _HEADER_BYTES, offset)) == _HEADER_BYTES:
        length = (header[3] & 3) << 11 | header[4] << 3 | header[5] >> 5
        if header[0] != 0xFF or header[1] & 0xF6 != 0xF0 or length < _HEADER_BYTES:
            return
        offset += length
        yield header, offset
