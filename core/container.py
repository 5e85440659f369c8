"""What the first bytes of a file say it is, and how much audio its container promises.

Content decides, never the name. What a broken-off upload still holds must not be labelled as if it were the
whole clip, so a promise that the file does not keep is an error. Not every field is a promise, see below.
"""

import os
import re
import struct
from collections.abc import Iterator

from core.errors import AudioRejected

# The formats of libsndfile that people store audio in. The rarer ones it also reads (MAT5, SD2, XI, ...) stay
# out: each is a parser more that untrusted bytes could reach.
_MAGIC = re.compile(
    rb"RIF[FX].{4}WAVE|RF64.{4}WAVE|riff\x2e\x91\xcf\x11"  # WAV in three sizes: RIFF, RF64, Wave64
    rb"|FORM.{4}AIF[FC]|\.snd|caff|NIST_1A|fLaC|OggS"
    rb"|ID3[\x02-\x04]|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]",  # MPEG layer II or III, with or without a tag
    re.DOTALL,
)
_SUPPORTED = "wav, aiff, au, caf, sphere, flac, ogg (vorbis, opus) and mp3"

# Writers to a pipe cannot come back to fill in the size: ffmpeg leaves 0xffffffff, sox just under 2 GiB.
_SIZE_UNKNOWN = 0x7FFF0000

_OGG_PAGE_LIMIT = 65_307
_OGG_HEADER, _OGG_END_OF_STREAM = 27, 0x04


def check_container(descriptor: int, size: int) -> None:
    """Check an open file of `size` bytes by its magic bytes and by what its container promises.

    Raises AudioRejected: `empty` (no bytes), `unsupported`, or `truncated`.
    """
    if size == 0:
        raise AudioRejected("empty", "the file has 0 bytes")
    head = os.pread(descriptor, 16, 0)
    if not _MAGIC.match(head):
        raise AudioRejected("unsupported", f"begins with {head!r}; supported are {_SUPPORTED}")
    if head.startswith((b"RIFF", b"RF64")):
        _check_sample_bytes(descriptor, size, "<")
    elif head.startswith((b"RIFX", b"FORM")):
        _check_sample_bytes(descriptor, size, ">")
    elif head.startswith(b"OggS"):
        _check_last_page(descriptor, size)


def _check_sample_bytes(descriptor: int, size: int, byte_order: str) -> None:
    """WAV and AIFF name the bytes of their samples, and libsndfile silently makes do with fewer."""
    promised_end = _end_of_samples(descriptor, byte_order)
    if promised_end > size:
        message = f"the header promises samples up to byte {promised_end}, the file ends at {size}"
        raise AudioRejected("truncated", message)


def _end_of_samples(descriptor: int, byte_order: str) -> int:
    """Where the chunk of samples should end; 0 where the header does not say."""
    large_size = 0
    for name, start, length in _chunks(descriptor, byte_order):
        if name == b"ds64":
            large_size = int.from_bytes(os.pread(descriptor, 8, start + 8), "little")
        elif name in (b"data", b"SSND"):
            if length < _SIZE_UNKNOWN:
                return start + length
            return start + large_size if large_size else 0
    return 0


def _chunks(descriptor: int, byte_order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, start of payload and claimed length of each chunk of a RIFF or IFF file."""
    offset = 12
    while len(header := os.pread(descriptor, 8, offset)) == 8:
        name, length = struct.unpack(f"{byte_order}4sI", header)
        yield name, offset + 8, length
        offset += 8 + length + length % 2


def _check_last_page(descriptor: int, size: int) -> None:
    """Ogg has no count of frames to break, but the page that ends a stream says so (RFC 3533)."""
    tail = os.pread(descriptor, _OGG_PAGE_LIMIT, max(0, size - _OGG_PAGE_LIMIT))
    start = tail.rfind(b"OggS")
    if start >= 0 and not _ends_stream(tail[start:]):
        raise AudioRejected("truncated", "the last Ogg page is cut, or does not end its stream")


def _ends_stream(page: bytes) -> bool:
    if len(page) < _OGG_HEADER:
        return False
    flags, segments = page[5], page[26]
    length = _OGG_HEADER + segments + sum(page[_OGG_HEADER : _OGG_HEADER + segments])
    return bool(flags & _OGG_END_OF_STREAM) and len(page) >= length
