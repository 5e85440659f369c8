"""Checks of a file's container: its type by the first bytes, the audio it promises, and its streams.

The content decides, never the name. A truncated upload must not be labeled as if it were the whole clip, so a
promise that the file does not keep is an error. So is audio past the promised end, since a part must not be
labeled as the whole either. Some fields are not promises, see below.
"""

import os
import re

from core.decoding.formats.chunks import WIDE_SIZE_UNKNOWN, Chunk, Grammar, grammar_of, read_chunks
from core.decoding.formats.fixed_headers import samples_end
from core.decoding.formats.flac import flac_streams
from core.decoding.formats.mpeg import mpeg_streams
from core.decoding.formats.ogg import ogg_streams
from core.decoding.formats.tags import check_tail, skip_id3v2
from core.decoding.pyav.streams import av_streams
from core.decoding.stream import RewrittenStream, Stream
from core.errors import AudioRejected

# The formats of libsndfile that people store audio in. The rarer ones it also reads (MAT5, SD2, XI, ...) stay
# out: each is a parser more that untrusted bytes could reach.
_MAGIC = re.compile(
    rb"RIF[FX].{4}WAVE|RF64.{4}WAVE|riff\x2e\x91\xcf\x11"  # WAV in three sizes: RIFF, RF64, Wave64
    rb"|FORM.{4}AIF[FC]|\.snd|caff|NIST_1A|fLaC|OggS"
    rb"|ID3[\x02-\x04]|\xff[\xe2-\xe5\xf2-\xf5\xfa-\xfd]",  # MPEG layer II or III, with or without a tag
    re.DOTALL,
)
_SUPPORTED = (
    "wav, aiff, au, caf, sphere, flac, ogg (vorbis, opus) and mp3, "
    "with wordwave[av] m4a, mp4, mov, 3gp, aac, webm and mkv too"
)

_MAX_HEAD_BYTES = 1024**2
"""Largest header of a recording whose size field is unknown."""

_NO_TAIL = {b"RIFF", b"RIFX", b"RF64", b"FORM", b"riff", b"data", b"SSND"}
"""Chunks after the samples that contain more samples, or begin another file."""


def check_container(descriptor: int, size: int) -> list[Stream]:
    """Check an open file of `size` bytes by its magic and its promises, and return its streams in order.

    Raises AudioRejected: `empty` (no bytes), `unsupported`, `truncated`, `unread` (audio that would be
    skipped) or `unreadable`.
    """
    if size == 0:
        raise AudioRejected("empty", "the file has 0 bytes")
    head = os.pread(descriptor, 16, 0)
    if streams := av_streams(head, size):
        return streams
    if not _MAGIC.match(head):
        raise AudioRejected("unsupported", f"begins with {head!r}; supported are {_SUPPORTED}")
    return _streams(descriptor, skip_id3v2(descriptor, 0), size)


def _streams(descriptor: int, base: int, size: int) -> list[Stream]:
    magic = os.pread(descriptor, 4, base)
    if magic == b"OggS":
        return ogg_streams(descriptor, base, size)
    if magic == b"fLaC":
        return flac_streams(descriptor, base, size)
    if magic in (b".snd", b"NIST"):
        return [_fixed(descriptor, base, size)]
    if grammar_of(magic):
        return [_chunked(descriptor, base, size)]
    return mpeg_streams(descriptor, base, size)


def _fixed(descriptor: int, base: int, size: int) -> Stream:
    """Return the stream of an AU or SPHERE file: a header, then samples."""
    end = samples_end(descriptor, base)
    if not end:
        return Stream(0, size)
    _check_promise(end, size)
    check_tail(descriptor, end, size)
    return Stream(0, end, is_file=end == size)


def _chunked(descriptor: int, base: int, size: int) -> Stream:
    """Return the stream of a WAV, AIFF or CAF file.

    A writer that was killed leaves a size of 0. That promises nothing, and libsndfile finds no frames by it.
    """
    grammar = grammar_of(os.pread(descriptor, 4, base))
    assert grammar
    samples = _samples_chunk(descriptor, base, grammar)
    if samples and samples.length >= WIDE_SIZE_UNKNOWN:
        return _sized(descriptor, samples, grammar, size)
    if not samples or not samples.length:
        return Stream(0, size if not samples else samples.end)
    _check_promise(samples.end, size)
    check_tail(descriptor, _end_of_chunks(descriptor, samples, grammar, size), size)
    return Stream(0, samples.end, is_file=samples.end == size)


def _sized(descriptor: int, samples: Chunk, grammar: Grammar, size: int) -> Stream:
    """Return everything after a header whose writer could not fill in the size."""
    length = size - samples.start
    if samples.start > _MAX_HEAD_BYTES or length >= grammar.unknown_size:
        return Stream(0, size)
    head = os.pread(descriptor, samples.start, 0)
    before, header = head[: -grammar.header.size], head[-grammar.header.size :]
    return RewrittenStream(0, size, is_file=False, head=before + grammar.resize(header, length))


def _samples_chunk(descriptor: int, base: int, grammar: Grammar) -> Chunk | None:
    """Return the chunk of samples, with length WIDE_SIZE_UNKNOWN when the header has no size."""
    large_size = 0
    for chunk in read_chunks(descriptor, base + grammar.first, grammar):
        if chunk.name == b"ds64":
            large_size = int.from_bytes(os.pread(descriptor, 8, chunk.start + 8), "little")
        elif chunk.name == grammar.samples_name:
            length = chunk.length if chunk.length < grammar.unknown_size else large_size or WIDE_SIZE_UNKNOWN
            return grammar.chunk(chunk.name, chunk.start, length)
    return None


def _end_of_chunks(descriptor: int, samples: Chunk, grammar: Grammar, size: int) -> int:
    """Return the end of the chunks after the samples; some writers omit the padding before them."""
    ends = []
    for end in (samples.next, samples.end):
        for chunk in read_chunks(descriptor, end, grammar):
            if chunk.name in _NO_TAIL or chunk.end > size:
                break
            end = chunk.next
        ends.append(min(end, size))
    return max(ends)


def _check_promise(end: int, size: int) -> None:
    """Raise AudioRejected (`truncated`) for a file that is too short; libsndfile would ignore it."""
    if end > size:
        raise AudioRejected(
            "truncated", f"the header promises samples up to byte {end}, the file ends at {size}"
        )
