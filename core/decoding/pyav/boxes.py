"""Checks of the boxes of MP4, M4A, MOV and 3GP files (ISO/IEC 14496-12)."""

import os
import struct
from collections.abc import Iterator

from core.errors import AudioRejected

_MAX_BOXES = 1_000_000
_HEADER_BYTES = 8
_TO_THE_END, _LONG = 0, 1  # lengths with a meaning of their own


def check_boxes(descriptor: int, size: int) -> None:
    """Raise AudioRejected when a box is cut, the index is missing, or a second recording follows.

    A fragmented file cut exactly between two fragments passes.
    """
    indexes = 0
    for name, end in _boxes(descriptor, size):
        if end > size:
            message = f"the box {name!r} promises bytes up to {end}, the file ends at {size}"
            raise AudioRejected("truncated", message)
        indexes += name == b"moov"
    if indexes == 0:
        raise AudioRejected(
            "truncated", "the index (moov) is missing, which is written when a recording ends"
        )
    if indexes > 1:
        raise AudioRejected("unread", f"{indexes} recordings are joined in one file: store each by itself")


def _boxes(descriptor: int, size: int) -> Iterator[tuple[bytes, int]]:
    """Yield the name and the claimed end of each box of the file."""
    offset = 0
    for _ in range(_MAX_BOXES):
        if offset >= size:
            return
        header = os.pread(descriptor, 2 * _HEADER_BYTES, offset).ljust(2 * _HEADER_BYTES, b"\xff")
        length, name, long_length = struct.unpack(">I4sQ", header)
        if length == _TO_THE_END:
            yield name, size
            return
        length = long_length if length == _LONG else length
        if length < _HEADER_BYTES:
            raise AudioRejected("unread", f"the bytes from {offset} on are not a box")
        offset += length
        yield name, offset
    raise AudioRejected("unreadable", f"over {_MAX_BOXES} boxes")
