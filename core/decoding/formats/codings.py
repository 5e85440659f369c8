"""The codings that libsndfile may decode, read from the header before libsndfile sees the file.

The decoders of rare codings are old and little used (CVE-2026-37555 is an overflow in the IMA ADPCM one), and
most audio does not need them. An operator with such files allows their codings by name.
"""

import os
from collections.abc import Collection, Iterator
from typing import Literal

from core.decoding.audio_stream import EXTRA_CODINGS
from core.decoding.formats.chunks import Chunk, Grammar, grammar_of, read_chunks
from core.decoding.formats.fixed_headers import au_encoding, sphere_coding
from core.decoding.formats.ogg import first_packet
from core.decoding.formats.tags import skip_id3v2
from core.errors import AudioRejected

_ALLOWED = ("pcm", "float", "alaw", "ulaw", "vorbis", "opus")

_WAV_TAGS = {
    0x0001: "pcm",
    0x0002: "ms_adpcm",
    0x0003: "float",
    0x0006: "alaw",
    0x0007: "ulaw",
    0x0011: "ima_adpcm",
    0x0014: "g723",
    0x0031: "gsm",
    0x0038: "nms_adpcm",
    0x0040: "g721",
    0x0050: "mpeg",
    0x0055: "mpeg",
}
_MIN_FORMAT_BYTES, _FORMAT_BYTES = 16, 64
_WAV_EXTENSIBLE, _SUBFORMAT_OFFSET = 0xFFFE, 24
_AIFC_TYPES = {
    b"NONE": "pcm",
    b"raw ": "pcm",
    b"twos": "pcm",
    b"sowt": "pcm",
    b"in24": "pcm",
    b"in32": "pcm",
    b"ni24": "pcm",
    b"ni32": "pcm",
    b"23ni": "pcm",
    b"42ni": "pcm",
    b"fl32": "float",
    b"FL32": "float",
    b"fl64": "float",
    b"FL64": "float",
    b"ulaw": "ulaw",
    b"ULAW": "ulaw",
    b"alaw": "alaw",
    b"ALAW": "alaw",
    b"ima4": "ima_adpcm",
    b"GSM ": "gsm",
    b"agsm": "gsm",
    b"DWVW": "dwvw",
}
_CAF_FORMATS = {b"lpcm": "pcm", b"ulaw": "ulaw", b"alaw": "alaw", b"alac": "alac", b"ima4": "ima_adpcm"}
_AU_ENCODINGS = {
    1: "ulaw",
    **dict.fromkeys(range(2, 6), "pcm"),
    6: "float",
    7: "float",
    23: "g721",
    25: "g723",
    26: "g723",
    27: "alaw",
}
_SPHERE_CODINGS = {"pcm": "pcm", "ulaw": "ulaw", "mu-law": "ulaw", "alaw": "alaw"}
_OGG_PACKETS = {
    b"\x01vorbis": "vorbis",
    b"OpusHead": "opus",
    b"Speex   ": "Speex",
    b"\x7fFLAC": "FLAC in Ogg",
    b"\x80theora": "Theora video",
}


def check_coding(descriptor: int, extra_codings: Collection[str]) -> None:
    """Raise AudioRejected (`unsupported`) for a coding that is not allowed, `unreadable` when none is named.

    FLAC and MPEG files are not checked: they have only one coding.
    """
    base = skip_id3v2(descriptor, 0)
    for coding in _codings(descriptor, base):
        _check_allowed(coding, extra_codings)


def check_subtype(file_format: str, subtype: str, extra_codings: Collection[str]) -> None:
    """Raise AudioRejected (`unsupported`) when libsndfile reports a coding that the header did not name."""
    if file_format != "MP3":
        for coding in EXTRA_CODINGS:
            if subtype.lower().startswith(coding):
                _check_allowed(coding, extra_codings)


def _check_allowed(coding: str, extra_codings: Collection[str]) -> None:
    if coding in _ALLOWED or coding in extra_codings:
        return
    allow = f", or allow it by WORDWAVE_EXTRA_CODINGS={coding}" if coding in EXTRA_CODINGS else ""
    raise AudioRejected("unsupported", f"the coding is {coding}: convert it to PCM or FLAC{allow}")


def _codings(descriptor: int, base: int) -> Iterator[str]:
    magic = os.pread(descriptor, 4, base)
    if grammar := grammar_of(magic):
        yield from _chunked_codings(descriptor, base, grammar)
    elif magic == b".snd":
        encoding = au_encoding(descriptor, base)
        yield _AU_ENCODINGS.get(encoding, f"AU encoding {encoding}")
    elif magic == b"NIST":
        coding = sphere_coding(descriptor, base)
        yield _SPHERE_CODINGS.get(coding.lower(), f"SPHERE {coding[:_FORMAT_BYTES]!r}")
    elif magic == b"OggS":
        packet = first_packet(descriptor, base)
        known = (name for mark, name in _OGG_PACKETS.items() if packet.startswith(mark))
        yield next(known, f"Ogg {packet[:8]!r}")


def _chunked_codings(descriptor: int, base: int, grammar: Grammar) -> Iterator[str]:
    """Yield the coding of every format chunk, whichever of them libsndfile uses."""
    is_named = False
    for chunk in read_chunks(descriptor, base + grammar.first, grammar):
        if chunk.name == grammar.format_name:
            is_named = True
            yield _coding(_format_payload(descriptor, chunk), grammar)
        if chunk.name == grammar.samples_name and not is_named:
            break
    if not is_named:
        raise AudioRejected("unreadable", "no chunk before the samples names their coding")


def _format_payload(descriptor: int, chunk: Chunk) -> bytes:
    payload = os.pread(descriptor, min(chunk.length, _FORMAT_BYTES), chunk.start)
    if len(payload) < _MIN_FORMAT_BYTES:
        raise AudioRejected("unreadable", "the chunk that names the coding is cut")
    return payload


def _coding(payload: bytes, grammar: Grammar) -> str:
    if grammar.format_name == b"COMM":
        return _name(_AIFC_TYPES, payload[18:22], "AIFC") if len(payload) >= 22 else "pcm"
    if grammar.format_name == b"desc":
        return _name(_CAF_FORMATS, payload[8:12], "CAF")
    order: Literal["little", "big"] = "big" if grammar.is_big_endian else "little"
    tag = int.from_bytes(payload[:2], order)
    if tag == _WAV_EXTENSIBLE:
        tag = int.from_bytes(payload[_SUBFORMAT_OFFSET : _SUBFORMAT_OFFSET + 2], order)
    return _WAV_TAGS.get(tag, f"WAV format {tag:#06x}")


def _name(names: dict[bytes, str], mark: bytes, container: str) -> str:
    return names.get(mark, f"{container} {mark!r}")
