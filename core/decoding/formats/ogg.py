"""Ogg: pages, chained streams, and whether the last stream is complete (RFC 3533)."""

import os
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from core.decoding.formats.tags import check_tail
from core.decoding.stream import Stream, check_count
from core.errors import AudioRejected

_HEADER = struct.Struct("<4sBBqIIIB")
_MARK = b"OggS"
_BEGINS_STREAM, _ENDS_STREAM = 0x02, 0x04
_MAX_SEGMENTS, _FULL_SEGMENT = 255, 255
_FULL_BODY_BYTES = 4096
"""Size above which libogg closes a page."""
_OPUS_RATE = 48_000
_READ_BYTES = 64 * 1024
_CHECKSUM_START, _CHECKSUM_END = 22, 26
_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""Each byte with its bits reversed."""


@dataclass(frozen=True)
class _Page:
    start: int
    end: int
    flags: int
    granule: int
    serial: int
    is_full: bool
    ends_packet: bool

    @property
    def begins_stream(self) -> bool:
        return bool(self.flags & _BEGINS_STREAM)


class _Link:
    """One stream of a chain."""

    def __init__(self, first: _Page, granule_rate: int) -> None:
        self.first = self.last = first
        self._granule = self._span = 0
        self._longest_span = granule_rate  # writers that close pages by time do so after a second

    def add(self, page: _Page) -> None:
        self.last = page
        if page.granule > 0:
            self._longest_span = max(self._longest_span, self._span) if self._span else self._longest_span
            self._span, self._granule = page.granule - self._granule, page.granule

    @property
    def is_whole(self) -> bool:
        """Whether the last page ends the stream.

        Some writers never set the end flag. Then the last page is recognized by why it was closed: it is not
        full, and not as long as the pages before it.
        """
        if self.last.flags & _ENDS_STREAM:
            return True
        has_audio = self.last.granule > 0 and self.last.ends_packet
        is_usual = self.last.is_full or abs(self._span - self._longest_span) <= self._longest_span / 40
        return has_audio and not is_usual


def ogg_streams(descriptor: int, base: int, size: int) -> list[Stream]:
    """Return each stream of a chain.

    Raises AudioRejected: `truncated` when a page is cut or the last stream does not end, `unsupported` for
    interleaved streams, `unread` for bytes after the last page.
    """
    links: list[_Link] = []
    for page in _pages(descriptor, base, size):
        if page.begins_stream and not (links and links[-1].last.begins_stream):
            check_count(len(links) + 1)
            links.append(_Link(page, _granule_rate(descriptor, page)))
        elif not links or page.begins_stream or page.serial != links[-1].first.serial:
            raise AudioRejected("unsupported", "several Ogg streams at once: send each in a file of its own")
        else:
            links[-1].add(page)
    if not links or not all(link.is_whole for link in links):
        raise AudioRejected("truncated", "the last Ogg page does not end its stream")
    check_tail(descriptor, links[-1].last.end, size)
    return [Stream(link.first.start, link.last.end, is_file=len(links) == 1) for link in links]


def first_packet(descriptor: int, base: int) -> bytes:
    """Return the beginning of the first packet, with the codec's marker."""
    header = os.pread(descriptor, _HEADER.size, base)
    return os.pread(descriptor, 32, base + len(header) + header[-1]) if len(header) == _HEADER.size else b""


def _granule_rate(descriptor: int, page: _Page) -> int:
    packet = first_packet(descriptor, page.start)
    is_vorbis = packet.startswith(b"\x01vorbis") and len(packet) >= 16
    return int.from_bytes(packet[12:16], "little") if is_vorbis else _OPUS_RATE


def _pages(descriptor: int, base: int, size: int) -> Iterator[_Page]:
    """Yield the intact pages, skipping the bytes in between as libogg does.

    A damaged page is skipped: it may be cut, and hide the beginning of the next stream.
    """
    start = _next_mark(descriptor, base, size)
    while start < size:
        page = _page(descriptor, start, size)
        is_intact = _is_intact(os.pread(descriptor, page.end - start, start))
        if is_intact:
            yield page
        start = _next_mark(descriptor, page.end if is_intact else start + len(_MARK), size)


def _page(descriptor: int, start: int, size: int) -> _Page:
    head = os.pread(descriptor, _HEADER.size + _MAX_SEGMENTS, start)
    if len(head) < _HEADER.size:
        raise AudioRejected("truncated", "the last Ogg page is cut")
    _, _, flags, granule, serial, _, _, segments = _HEADER.unpack_from(head)
    lacing = head[_HEADER.size : _HEADER.size + segments]
    body = sum(lacing)
    end = start + _HEADER.size + segments + body
    if end > size:
        raise AudioRejected("truncated", f"the last Ogg page ends at byte {end}, the file at {size}")
    is_full = body > _FULL_BODY_BYTES or segments == _MAX_SEGMENTS
    ends_packet = bool(lacing) and lacing[-1] < _FULL_SEGMENT
    return _Page(start, end, flags, granule, serial, is_full, ends_packet)


def _is_intact(page: bytes) -> bool:
    blank = page[:_CHECKSUM_START] + bytes(4) + page[_CHECKSUM_END:]
    return _checksum(blank) == int.from_bytes(page[_CHECKSUM_START:_CHECKSUM_END], "little")


def _checksum(data: bytes) -> int:
    """Return Ogg's CRC: the CRC of zlib with reversed bits and an initial value of 0."""
    reversed_bits = zlib.crc32(data.translate(_REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
    return int(f"{reversed_bits:032b}"[::-1], 2)


def _next_mark(descriptor: int, start: int, size: int) -> int:
    """Return the offset of the next page, or `size`."""
    if os.pread(descriptor, len(_MARK), start) == _MARK:
        return start
    while start < size:
        part = os.pread(descriptor, _READ_BYTES + len(_MARK) - 1, start)
        if (at := part.find(_MARK)) >= 0:
            return start + at
        start += _READ_BYTES
    return size
