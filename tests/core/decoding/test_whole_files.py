"""A clip is decoded to the end of its file, or it is refused; no header decides how much is left out."""

import io
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from core.decoding.audio_stream import AudioInfo, Samples
from core.decoding.in_process import open_audio
from core.errors import AudioRejected
from tests.fuzz.seeds import Seed, seeds, without_count

RATE = 16_000
GENERATOR = np.random.default_rng(0)
NOISE = GENERATOR.uniform(-0.3, 0.3, 3 * RATE)
SPEECHLIKE = NOISE * np.repeat([1, 0.001, 0.02], RATE)
"""Loud, then quiet: a variable bit rate that no guess by the first frames meets."""

APE = (
    b"APETAGEX"
    + struct.pack("<IIII", 2000, 3032, 1, 5 << 29)
    + bytes(8)
    + b"\x55" * 3000
    + b"APETAGEX"
    + struct.pack("<IIII", 2000, 3032, 1, 1 << 31)
    + bytes(8)
)
WITHOUT_PROMISE = {"MP3 CONSTANT bare", "MP3 VARIABLE bare"}
"""MPEG frames without a first one that counts them: a cut between two of them cannot be seen."""


@pytest.fixture
def decode(tmp_path: Path) -> Callable[[bytes], tuple[Samples, AudioInfo]]:
    def decode(content: bytes) -> tuple[Samples, AudioInfo]:
        path = tmp_path / "clip"
        path.write_bytes(content)
        with path.open("rb") as file:
            stream = open_audio(file)
            return np.concatenate(list(stream)), stream.info

    return decode


Decode = Callable[[bytes], tuple[Samples, AudioInfo]]


def reason(decode: Decode, content: bytes) -> str:
    with pytest.raises(AudioRejected) as caught:
        decode(content)
    return caught.value.reason


@cache
def written(container: str, subtype: str | None = None, *, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    samples = np.tile(SPEECHLIKE[:, None], channels)
    options: dict[str, Any] = (
        {"bitrate_mode": "VARIABLE", "compression_level": 0.6} if container == "MP3" else {}
    )
    soundfile.write(file, samples, rate, format=container, subtype=subtype, **options)
    return file.getvalue()


def decoded_by_soundfile(content: bytes) -> Samples:
    samples: Samples = soundfile.read(io.BytesIO(content), dtype="float32", always_2d=True)[0].mean(axis=1)
    return samples


def named(seed: Seed) -> str:
    return seed.name


# Every accepted container and coding


@pytest.mark.parametrize("seed", seeds(), ids=named)
def test_a_whole_file_is_decoded_as_libsndfile_does(decode: Decode, seed: Seed) -> None:
    samples, info = decode(seed.data)
    assert info.num_samples == len(samples)
    reference = decoded_by_soundfile(seed.data)
    np.testing.assert_allclose(samples[: len(reference)], reference, atol=1e-7)
    assert abs(len(samples) - seed.frames) <= seed.slack


@pytest.mark.parametrize("place", range(10))
@pytest.mark.parametrize("seed", [seed for seed in seeds() if seed.promises], ids=named)
def test_a_file_cut_at_ten_places_is_never_taken_as_whole(decode: Decode, seed: Seed, place: int) -> None:
    cut = seed.data[: int(len(seed.data) * (place + 0.5) / 10)]
    assert reason(decode, cut) in {"truncated", "unreadable", "empty", "unsupported"}


def test_only_mpeg_that_nobody_counted_promises_nothing() -> None:
    assert {seed.name[:-2] for seed in seeds() if not seed.promises} == WITHOUT_PROMISE


@pytest.mark.parametrize("seed", seeds(), ids=named)
def test_joined_files_are_decoded_whole_or_refused(decode: Decode, seed: Seed) -> None:
    if seed.name.split()[0] not in {"FLAC", "OGG", "MP3"}:
        assert reason(decode, 2 * seed.data) == "unread"
        return
    once, twice = decode(seed.data)[0], decode(2 * seed.data)[0]
    assert abs(len(twice) - 2 * len(once)) <= 2 * seed.slack
    np.testing.assert_array_equal(twice[: len(once) - seed.slack], once[: len(once) - seed.slack])


@pytest.mark.parametrize(
    "container", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "CAF", "AU", "NIST", "FLAC", "OGG"]
)
def test_audio_of_another_kind_after_the_end_is_unread(decode: Decode, container: str) -> None:
    other = "MP3" if container == "OGG" else "OGG"
    assert reason(decode, written(container) + written(other)) == "unread"


@pytest.mark.parametrize(
    "tail",
    [b"TAG" + bytes(125), bytes(100_000), APE, APE + b"TAG" + bytes(125), b"\x55" * 1000],
    ids=["ID3v1", "zeros", "APEv2", "both", "a little of anything"],
)
@pytest.mark.parametrize("container", ["WAV", "W64", "AIFF", "CAF", "AU", "FLAC", "OGG", "MP3"])
def test_tags_and_padding_after_the_end_change_nothing(decode: Decode, container: str, tail: bytes) -> None:
    content = written(container)
    np.testing.assert_array_equal(decode(content + tail)[0], decode(content)[0])


@pytest.mark.parametrize("container", ["WAV", "W64", "AIFF", "CAF", "AU", "NIST", "FLAC", "OGG", "MP3"])
def test_much_that_nothing_decodes_is_unread(decode: Decode, container: str) -> None:
    foreign = np.random.default_rng(1).integers(0, 128, 40_000, np.uint8).tobytes()
    assert reason(decode, written(container) + foreign) == "unread"


# Chunks


def with_size(content: bytes, name: bytes, form: str, size: int) -> bytes:
    """Return the file with another size for the chunk, or the field, of a name."""
    start = content.index(name) + (len(name) if form != "<16xQ" else 16)
    packed = struct.pack(form.replace("16x", ""), size)
    return content[:start] + packed + content[start + len(packed) :]


@pytest.mark.parametrize(
    ("container", "name", "form"),
    [
        ("WAV", b"data", "<I"),
        ("WAVEX", b"data", "<I"),
        ("AIFF", b"SSND", ">I"),
        ("W64", b"data\xf3", "<16xQ"),
        ("CAF", b"data", ">Q"),
        ("AU", b".snd\0\0\0\x18", ">I"),
    ],
)
def test_a_size_that_counts_too_little_is_unread(
    decode: Decode, container: str, name: bytes, form: str
) -> None:
    assert reason(decode, with_size(written(container), name, form, 20_000)) == "unread"


def test_a_sphere_that_counts_too_little_is_unread(decode: Decode) -> None:
    content = written("NIST").replace(b"sample_count -i 48000", b"sample_count -i 12000")
    assert reason(decode, content) == "unread"


def test_chunks_after_the_samples_may_lack_their_padding(decode: Decode) -> None:
    content = written("WAV", "PCM_U8")
    content = with_size(content[:-1], b"data", "<I", len(SPEECHLIKE) - 1)
    for padding in (b"", b"\0"):
        tagged = content + padding + b"LIST" + struct.pack("<I", 4000) + b"\x55" * 4000
        assert decode(tagged)[1].num_samples == len(SPEECHLIKE) - 1


def test_a_second_chunk_of_samples_is_unread(decode: Decode) -> None:
    assert reason(decode, written("WAV") + b"data" + struct.pack("<I", 4000) + b"\x55" * 4000) == "unread"


def test_a_size_of_zero_with_samples_after_it_is_empty(decode: Decode) -> None:
    assert reason(decode, with_size(written("WAV"), b"data", "<I", 0)) == "empty"


@pytest.mark.parametrize(
    ("container", "name", "form", "unknown"),
    [
        ("WAV", b"data", "<I", 2**32 - 1),
        ("WAV", b"data", "<I", 0x7FFFF000),
        ("AIFF", b"SSND", ">I", 0x7F000008),
        ("W64", b"data\xf3", "<16xQ", 2**63 - 1),
        ("CAF", b"data", ">Q", 2**64 - 1),
    ],
)
def test_samples_of_a_writer_to_a_pipe_are_decoded_to_the_end(
    decode: Decode, container: str, name: bytes, form: str, unknown: int
) -> None:
    content = written(container)
    piped = with_size(content, name, form, unknown)
    np.testing.assert_array_equal(decode(piped)[0], decode(content)[0])


def test_a_million_chunks_are_not_walked(decode: Decode) -> None:
    content = written("WAV")
    start = content.index(b"data")
    assert reason(decode, content[:start] + 100_000 * (b"junk" + bytes(4)) + content[start:]) == "unreadable"


# MPEG


def test_a_variable_bit_rate_without_a_count_is_decoded_whole(decode: Decode) -> None:
    content = without_count(written("MP3"))
    guess = decoded_by_soundfile(content)
    samples, _ = decode(content)
    assert len(guess) < len(SPEECHLIKE) * 0.8 < len(SPEECHLIKE) <= len(samples) < len(SPEECHLIKE) + 6 * 576
    np.testing.assert_array_equal(samples[: len(guess)], guess)


def test_a_count_that_is_too_small_is_not_believed(decode: Decode) -> None:
    content = written("MP3")
    start = content.index(b"Xing") + 8
    frames = int.from_bytes(content[start : start + 4], "big")
    few = content[:start] + struct.pack(">I", frames // 2) + content[start + 4 :]
    assert len(decode(few)[0]) >= len(SPEECHLIKE)


@pytest.mark.parametrize("short", [1, 2, 50])
def test_frames_of_mpeg_that_are_promised_must_be_there(decode: Decode, short: int) -> None:
    content = written("MP3")
    starts = frame_starts(content)
    cut = content[: starts[-short]]
    start = content.index(b"Xing") + 12
    assert reason(decode, cut) == "truncated"
    whole_bytes = cut[:start] + struct.pack(">I", len(cut)) + cut[start + 4 :]
    if short == 1:
        decode(whole_bytes)  # some writers count the frame that holds the count
    else:
        assert reason(decode, whole_bytes) == "truncated"


def frame_starts(content: bytes) -> list[int]:
    from core.decoding.formats.mpeg_frames import read_frame

    starts, start = [], 0
    while frame := read_frame(content[start : start + 4]):
        starts.append(start)
        start += frame.length
    assert start == len(content)
    return starts


def test_a_mark_whose_counts_are_cut_promises_nothing(tmp_path: Path) -> None:
    from core.decoding.formats.mpeg import mpeg_streams

    frame = b"\xff\xf3\x14\xc0" + bytes(8) + b"VBRI" + bytes(8)
    path = tmp_path / "clip"
    path.write_bytes(2 * frame)
    with path.open("rb") as file:
        [stream] = mpeg_streams(file.fileno(), 0, 2 * len(frame))
    assert stream.end == 2 * len(frame)


@pytest.mark.parametrize("other", [{"rate": 22_050}, {"channels": 2}])
def test_mpeg_that_changes_its_format_is_unread(decode: Decode, other: dict[str, int]) -> None:
    assert reason(decode, written("MP3") + written("MP3", **other)) == "unread"
    assert reason(decode, without_count(written("MP3")) + without_count(written("MP3", **other))) == "unread"


def test_joined_mp3_with_tags_between_are_decoded_whole(decode: Decode) -> None:
    once = written("MP3")
    id3v1, id3v2 = b"TAG" + bytes(125), b"ID3\x03\0\0\0\0\x4e\x10" + b"\xff\xfb\x90\x64" * 2500
    samples, _ = decode(id3v2 + once + APE + id3v1 + id3v2 + once + id3v1)
    np.testing.assert_array_equal(samples, np.tile(decode(once)[0], 2))


# FLAC


@pytest.mark.parametrize("count", [1, 4096, 20_000, 47_999])
def test_a_flac_that_counts_too_few_samples_is_decoded_whole(decode: Decode, count: int) -> None:
    content = written("FLAC")
    few = (
        content[:21]
        + (int.from_bytes(content[21:26], "big") >> 36 << 36 | count).to_bytes(5, "big")
        + content[26:]
    )
    np.testing.assert_array_equal(decode(few)[0], decode(content)[0])


def test_joined_flacs_must_be_alike(decode: Decode) -> None:
    assert decode(written("FLAC") + written("FLAC", "PCM_24"))[1].num_samples == 2 * len(SPEECHLIKE)
    assert reason(decode, written("FLAC") + written("FLAC", rate=8_000)) == "unread"
    assert reason(decode, written("FLAC") + written("FLAC", channels=2)) == "unread"


# Ogg


def ogg_checksum(page: bytes) -> int:
    register = 0
    for byte in page:
        register ^= byte << 24
        for _ in range(8):
            register = register << 1 ^ (0x104C11DB7 if register & 0x80000000 else 0)
    return register


def ogg_pages(content: bytes) -> list[bytes]:
    pages = []
    while content:
        segments = content[26]
        length = 27 + segments + sum(content[27 : 27 + segments])
        pages.append(content[:length])
        content = content[length:]
    return pages


def without_end_mark(content: bytes) -> bytes:
    *pages, last = ogg_pages(content)
    last = last[:5] + b"\0" + last[6:22] + bytes(4) + last[26:]
    return b"".join(pages) + last[:22] + struct.pack("<I", ogg_checksum(last)) + last[26:]


def without_trimmed_end(content: bytes) -> bytes:
    """Return an Opus stream as long as its packets, of 20 ms: only an end mark may cut the last one."""
    *pages, before, last = ogg_pages(content)
    packets = sum(lacing < 255 for lacing in last[27 : 27 + last[26]])
    granule = int.from_bytes(before[6:14], "little") + 960 * packets
    return b"".join([*pages, before, last[:6], struct.pack("<q", granule), last[14:]])


def interleaved(one: bytes, other: bytes) -> bytes:
    pairs = zip(ogg_pages(one), ogg_pages(other), strict=False)
    return b"".join(page for pair in pairs for page in pair)


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_chain_of_any_length_is_decoded_whole(decode: Decode, subtype: str) -> None:
    once = written("OGG", subtype)
    samples, _ = decode(5 * once)
    np.testing.assert_array_equal(samples, np.tile(decode(once)[0], 5))


def test_a_chain_shorter_than_what_is_read_at_once_is_decoded_whole(decode: Decode) -> None:
    file = io.BytesIO()
    soundfile.write(file, 0.5 * np.sin(np.arange(2000) / 5), RATE, format="OGG", subtype="VORBIS")
    once = file.getvalue()
    assert len(once) < 4096
    assert decode(3 * once)[1].num_samples == 3 * decode(once)[1].num_samples


def test_a_chain_must_be_alike(decode: Decode) -> None:
    once = written("OGG", "VORBIS")
    assert reason(decode, once + written("OGG", "VORBIS", rate=22_050)) == "unread"
    assert reason(decode, once + written("OGG", "VORBIS", channels=2)) == "unread"


@pytest.mark.parametrize("container", ["OGG", "FLAC", "MP3"])
def test_more_streams_than_anybody_joins_are_unread(decode: Decode, container: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, NOISE[:1000], RATE, format=container)
    assert reason(decode, 1001 * file.getvalue()) == "unread"


def test_the_last_link_of_a_chain_is_held_to_its_end(decode: Decode) -> None:
    once = written("OGG", "VORBIS")
    assert reason(decode, once + once[: len(once) // 2]) == "truncated"


def test_interleaved_streams_are_refused(decode: Decode) -> None:
    assert reason(decode, interleaved(written("OGG", "VORBIS"), written("OGG", "OPUS"))) == "unsupported"


def test_a_stream_without_an_end_mark_is_whole_where_its_last_page_shows_it(decode: Decode) -> None:
    vorbis = written("OGG", "VORBIS")
    np.testing.assert_array_equal(decode(without_end_mark(vorbis))[0], decode(vorbis)[0])
    opus = written("OGG", "OPUS")
    samples, _ = decode(without_end_mark(without_trimmed_end(opus)))
    np.testing.assert_array_equal(samples[: len(SPEECHLIKE)], decode(opus)[0])


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_a_stream_cut_between_two_pages_is_truncated(decode: Decode, subtype: str) -> None:
    pages = ogg_pages(written("OGG", subtype))
    assert len(pages) > 4
    for count in range(1, len(pages)):
        assert reason(decode, b"".join(pages[:count])) == "truncated", count


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("place", range(10))
def test_a_broken_stream_before_a_whole_one_is_refused(decode: Decode, subtype: str, place: int) -> None:
    content = written("OGG", subtype)
    broken = content[: int(len(content) * (place + 0.5) / 10)]
    assert reason(decode, broken + content) in {"truncated", "unreadable", "unread", "unsupported"}


def test_a_stream_cut_between_two_pages_before_a_whole_one_is_truncated(decode: Decode) -> None:
    pages = ogg_pages(written("OGG", "VORBIS"))
    assert reason(decode, b"".join(pages[:4] + pages)) == "truncated"


def test_an_end_that_is_damaged_is_no_end(decode: Decode) -> None:
    content = bytearray(written("OGG", "VORBIS"))
    content[-1] ^= 1
    assert reason(decode, bytes(content)) == "truncated"
