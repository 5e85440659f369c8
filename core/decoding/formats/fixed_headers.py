"""The headers of AU and NIST SPHERE files: one header, then samples up to the end."""

import os
import struct

from core.errors import AudioRejected

_AU = struct.Struct(">4sIII")
_SIZE_UNKNOWN = 0x7FFF0000
_SPHERE_MAX_BYTES = 64 * 1024


def samples_end(descriptor: int, base: int) -> int:
    """Return the promised end of the samples after the header at `base`; 0 if unknown."""
    is_au = os.pread(descriptor, 4, base) == b".snd"
    return _au_samples_end(descriptor, base) if is_au else _sphere_samples_end(descriptor, base)


def au_encoding(descriptor: int, base: int) -> int:
    """Return the encoding number of an AU file."""
    return _au_header(descriptor, base)[2]


def sphere_coding(descriptor: int, base: int) -> str:
    """Return the coding of a SPHERE file: pcm, ulaw, alaw, or one of those with a compression."""
    return _sphere_fields(descriptor, base)[1].get("sample_coding", "pcm")


def _au_header(descriptor: int, base: int) -> tuple[int, int, int]:
    header = os.pread(descriptor, _AU.size, base)
    if len(header) < _AU.size:
        raise AudioRejected("unreadable", "the file ends in the header of an AU")
    _, start, size, encoding = _AU.unpack(header)
    return start, size, encoding


def _au_samples_end(descriptor: int, base: int) -> int:
    start, size, _ = _au_header(descriptor, base)
    return base + start + size if 0 < size < _SIZE_UNKNOWN else 0


def _sphere_samples_end(descriptor: int, base: int) -> int:
    start, fields = _sphere_fields(descriptor, base)
    names = ("sample_count", "channel_count", "sample_n_bytes")
    count, channels, width = (_number(fields.get(name, "")) for name in names)
    return base + start + count * (channels or 1) * (width or 1) if count else 0


def _sphere_fields(descriptor: int, base: int) -> tuple[int, dict[str, str]]:
    """Return the header's length and its fields; a line has a name, a type and a value."""
    text = os.pread(descriptor, _SPHERE_MAX_BYTES, base).decode("latin-1")
    length = _number(text[8:16].strip())
    lines = (line.split(None, 2) for line in text[:length].split("end_head")[0].splitlines()[2:])
    return length, {line[0]: line[2].strip() for line in lines if len(line) == 3}


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else 0
