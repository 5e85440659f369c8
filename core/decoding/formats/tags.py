"""Tags around audio, and bytes that may follow it without being audio."""

import os

from core.errors import AudioRejected

_ID3V1_BYTES, _ID3V2_HEADER_BYTES, _APE_HEADER_BYTES = 128, 10, 32
_LYRICS_MARK_BYTES, _LYRICS_MAX_BYTES = 9, 1024**2
_READ_BYTES = 1024**2
_MAX_TAGS = 100
"""Tags in a row; a hostile file could have one per 10 bytes."""

_MAX_TAIL_BYTES = 1024
"""Unknown bytes after the audio that are accepted as a tag: less than a moment of sound."""


def skip_id3v2(descriptor: int, start: int) -> int:
    """Return the end of the ID3v2 tags at `start`."""
    for _ in range(_MAX_TAGS):
        length = _id3v2_bytes(os.pread(descriptor, _ID3V2_HEADER_BYTES, start))
        if not length:
            break
        start += length
    return start


def skip_tags(descriptor: int, start: int) -> int:
    """Return the end of the tags of any kind at `start`."""
    for _ in range(_MAX_TAGS):
        length = _tag_bytes(descriptor, start)
        if not length:
            break
        start += length
    return start


def end_before_tags(descriptor: int, start: int, end: int) -> int:
    """Return the start of the tags at the very end, found by their last bytes."""
    for _ in range(_MAX_TAGS):
        length = _tag_bytes_before(descriptor, end)
        if not 0 < length <= end - start:
            break
        end -= length
    return end


def check_tail(descriptor: int, start: int, end: int) -> None:
    """Raise AudioRejected (`unread`) when bytes that could be audio follow the end of the audio."""
    start = skip_tags(descriptor, start)
    end = end_before_tags(descriptor, start, end)
    if end - start > _MAX_TAIL_BYTES and not _is_padding(descriptor, start, end):
        message = f"the audio ends at byte {start}, and {end - start} bytes after it cannot be decoded"
        raise AudioRejected("unread", message)


def _tag_bytes(descriptor: int, start: int) -> int:
    head = os.pread(descriptor, _APE_HEADER_BYTES, start)
    if head.startswith(b"TAG"):
        return _ID3V1_BYTES
    if head.startswith(b"APETAGEX"):
        return _APE_HEADER_BYTES + int.from_bytes(head[12:16], "little")
    if head.startswith(b"LYRICSBEGIN"):
        return _lyrics_bytes(descriptor, start)
    return _id3v2_bytes(head)


def _tag_bytes_before(descriptor: int, end: int) -> int:
    if end >= _ID3V1_BYTES and os.pread(descriptor, 3, end - _ID3V1_BYTES) == b"TAG":
        return _ID3V1_BYTES
    footer = os.pread(descriptor, _APE_HEADER_BYTES, max(0, end - _APE_HEADER_BYTES))
    if not footer.startswith(b"APETAGEX"):
        return 0
    has_header = footer[23] & 0x80
    return int.from_bytes(footer[12:16], "little") + (_APE_HEADER_BYTES if has_header else 0)


def _id3v2_bytes(head: bytes) -> int:
    if len(head) < _ID3V2_HEADER_BYTES or not head.startswith(b"ID3") or head[3] == 0xFF:
        return 0
    size = 0
    for byte in head[6:10]:
        size = size << 7 | byte & 0x7F
    return _ID3V2_HEADER_BYTES + size


def _lyrics_bytes(descriptor: int, start: int) -> int:
    text = os.pread(descriptor, _LYRICS_MAX_BYTES, start)
    ends = [end for mark in (b"LYRICSEND", b"LYRICS200") if (end := text.find(mark)) > 0]
    return min(ends) + _LYRICS_MARK_BYTES if ends else 0


def _is_padding(descriptor: int, start: int, end: int) -> bool:
    parts = range(start, end, _READ_BYTES)
    return not any(os.pread(descriptor, min(_READ_BYTES, end - part), part).strip(b"\0") for part in parts)
