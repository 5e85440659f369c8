"""Tags around audio are stepped over, and what could be audio is not taken for one."""

import struct
import tempfile
from collections.abc import Callable

import pytest

from core.decoding.formats.tags import check_tail, end_before_tags, skip_id3v2, skip_tags
from core.errors import AudioRejected

ID3V1 = b"TAG" + bytes(125)
ID3V2 = b"ID3\x04\0\0\0\0\x01\x02" + b"\xff" * 130
LYRICS = b"LYRICSBEGIN" + b"LAL00005hello" + b"000024LYRICS200"
APE = b"".join(
    mark + struct.pack("<IIII", 2000, 132, 1, flags) + bytes(8) + body
    for mark, flags, body in ((b"APETAGEX", 5 << 29, b"\xff" * 100), (b"APETAGEX", 1 << 31, b""))
)
TAGS = [ID3V1, ID3V2, LYRICS, APE, APE + ID3V1, LYRICS + ID3V1, ID3V2 + ID3V2 + APE]


def of_file(content: bytes, measure: Callable[[int], int]) -> int:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return measure(file.fileno())


@pytest.mark.parametrize("tag", TAGS)
def test_tags_of_every_kind_are_stepped_over(tag: bytes) -> None:
    assert of_file(b"audio" + tag + b"more", lambda file: skip_tags(file, 5)) == 5 + len(tag)


@pytest.mark.parametrize("tag", [ID3V1, APE, APE + ID3V1])
def test_tags_at_the_end_are_found_from_there(tag: bytes) -> None:
    content = b"audio" + tag
    assert of_file(content, lambda file: end_before_tags(file, 0, len(content))) == 5


def test_only_id3v2_comes_before_a_container() -> None:
    assert of_file(ID3V2 + ID3V1, lambda file: skip_id3v2(file, 0)) == len(ID3V2)


def test_tags_without_end_are_bounded() -> None:
    content = 100_000 * (b"ID3\x03\0\0\0\0\0\0")
    assert of_file(content, lambda file: skip_id3v2(file, 0)) < len(content)


def tail_is_unread(tail: bytes) -> bool:
    content = b"audio" + tail
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            check_tail(file.fileno(), 5, len(content))
        except AudioRejected as rejected:
            return rejected.reason == "unread"
    return False


@pytest.mark.parametrize("tag", [b"", *TAGS])
@pytest.mark.parametrize("padding", [b"", bytes(5000), b"\x55" * 1000])
def test_tags_and_padding_are_no_audio(tag: bytes, padding: bytes) -> None:
    assert not tail_is_unread(tag + padding)
    assert not tail_is_unread(padding + ID3V1)


@pytest.mark.parametrize("tag", [b"", *TAGS])
def test_more_than_a_little_of_anything_else_could_be_audio(tag: bytes) -> None:
    assert tail_is_unread(tag + b"\x55" * 1025)
    assert tail_is_unread(b"\x55" * 1025 + ID3V1)
