"""The chunks of WAV (RIFF, RIFX, RF64, Wave64), AIFF and CAF."""

import os
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass

from core.errors import AudioRejected

_MAX_CHUNKS = 10_000
"""Far more than any writer makes; a hostile file could have a million per 8 MB."""

_NAME = re.compile(rb"[ -~]{4}")
_MAX_OFFSET = 2**62
"""No file is this long, but 64-bit lengths can claim it."""

_WAVE64_TAIL = bytes.fromhex("f3acd3118cd100c04f8edb8a")
"""The last 12 bytes of every Wave64 GUID; the first 4 are the name of the chunk."""


@dataclass(frozen=True)
class Chunk:
    """A chunk as its header claims it; `start` is the offset of its payload."""

    name: bytes
    start: int
    length: int
    next: int

    @property
    def end(self) -> int:
        """Offset of the first byte after the payload."""
        return self.start + self.length


@dataclass(frozen=True)
class Grammar:
    """The layout of the chunks of a container."""

    header: struct.Struct
    first: int
    alignment: int
    format_name: bytes
    samples_name: bytes
    is_big_endian: bool
    unknown_size: int
    length_counts_header: bool = False

    def read(self, header: bytes, offset: int) -> Chunk | None:
        """Return the chunk of a header, or None for other bytes."""
        name, *rest, length = self.header.unpack(header)
        if not _NAME.fullmatch(name) or (rest and rest[0] != _WAVE64_TAIL):
            return None
        start = offset + self.header.size
        if self.length_counts_header:
            length -= self.header.size
        return self.chunk(name, start, length) if length >= 0 else None

    def resize(self, header: bytes, length: int) -> bytes:
        """Return the header of a chunk with another payload length."""
        *names, _ = self.header.unpack(header)
        return self.header.pack(*names, length + self.length_counts_header * self.header.size)

    def chunk(self, name: bytes, start: int, length: int) -> Chunk:
        """Return a chunk of `length` bytes, with the aligned offset of the next one."""
        return Chunk(name, start, length, start + length + -length % self.alignment)


# Writers to a pipe cannot come back to fill in the size: ffmpeg leaves the largest number of 32 or 63 bits,
# sox one a little under 2 GiB.
_SIZE_UNKNOWN, _AIFF_SIZE_UNKNOWN, WIDE_SIZE_UNKNOWN = 0x7FFF0000, 0x7F000000, 2**62

_RIFF = Grammar(struct.Struct("<4sI"), 12, 2, b"fmt ", b"data", False, _SIZE_UNKNOWN)
_RIFX = Grammar(struct.Struct(">4sI"), 12, 2, b"fmt ", b"data", True, _SIZE_UNKNOWN)
_AIFF = Grammar(struct.Struct(">4sI"), 12, 2, b"COMM", b"SSND", True, _AIFF_SIZE_UNKNOWN)
_WAVE64 = Grammar(
    struct.Struct("<4s12sQ"), 40, 8, b"fmt ", b"data", False, WIDE_SIZE_UNKNOWN, length_counts_header=True
)
_CAF = Grammar(struct.Struct(">4sQ"), 8, 1, b"desc", b"data", True, WIDE_SIZE_UNKNOWN)

_GRAMMARS = {b"RIFF": _RIFF, b"RF64": _RIFF, b"RIFX": _RIFX, b"FORM": _AIFF, b"riff": _WAVE64, b"caff": _CAF}


def grammar_of(magic: bytes) -> Grammar | None:
    """Return the chunk layout of a file by its first bytes, or None for a file without chunks."""
    return _GRAMMARS.get(magic[:4])


def read_chunks(descriptor: int, offset: int, grammar: Grammar) -> Iterator[Chunk]:
    """Yield the chunks from an offset on, until bytes that are not a chunk.

    Raises AudioRejected (`unreadable`) after more chunks than any writer makes.
    """
    for _ in range(_MAX_CHUNKS):
        if offset > _MAX_OFFSET:
            return
        header = os.pread(descriptor, grammar.header.size, offset)
        if len(header) < grammar.header.size or not (chunk := grammar.read(header, offset)):
            return
        yield chunk
        offset = chunk.next
    raise AudioRejected("unreadable", f"over {_MAX_CHUNKS} chunks")
