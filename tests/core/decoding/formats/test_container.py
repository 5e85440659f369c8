import io
import os
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from core.decoding.formats.container import check_container
from core.errors import AudioRejected

NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)


def written(container: str, **options: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE, 16_000, format=container, **options)
    return file.getvalue()


def verdict(content: bytes) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            check_container(file.fileno(), os.fstat(file.fileno()).st_size)
        except AudioRejected as rejected:
            return rejected.reason
    return "accepted"


def riff(*chunks: tuple[bytes, int, bytes], form: bytes = b"RIFF", order: str = "<") -> bytes:
    """Return chunks of a name, a claimed size and their real content."""
    body = b"".join(name + struct.pack(f"{order}I", claimed) + payload for name, claimed, payload in chunks)
    kind = b"AIFF" if form == b"FORM" else b"WAVE"
    return form + struct.pack(f"{order}I", len(body) + 4) + kind + body


@pytest.mark.parametrize(
    "container", ["WAV", "WAVEX", "RF64", "AIFF", "AU", "CAF", "W64", "NIST", "FLAC", "OGG", "MP3"]
)
def test_whole_files_of_every_supported_format_are_accepted(container: str) -> None:
    assert verdict(written(container)) == "accepted"


def test_big_endian_wav_is_accepted() -> None:
    content = written("WAV", endian="BIG")
    assert content.startswith(b"RIFX")
    assert verdict(content) == "accepted"


@pytest.mark.parametrize(
    "head",
    [
        b"\x1f\x8b\x08",
        b"<html>",
        b"\xff\xd8\xff\xe0",
        b"\x00\x00\x00 ftypM4A ",
        b"\x1aE\xdf\xa3",
        b"RIFF\x00\x00\x00\x00AVI ",
        b"\xff\xfeh\x00i\x00",
        b"\xff\xf1\x50\x80",
        b"ID3 is a tag",
        b"MATLAB 5.0 MAT-file",
    ],
    ids=["gzip", "html", "jpeg", "m4a", "matroska", "avi", "utf-16 text", "aac", "text", "matlab"],
)
def test_other_content_is_unsupported_whatever_its_name(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("core.decoding.pyav.streams.find_av", lambda: None)
    assert verdict(head.ljust(64, b"\0")) == "unsupported"


@pytest.mark.parametrize("head", [b"\0\0\0 ftypM4A ", b"\x1aE\xdf\xa3", b"\xff\xf1\x50\x80"])
def test_the_refusal_of_what_pyav_decodes_names_the_extra(
    head: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.decoding.pyav.streams.find_av", lambda: None)
    path = tmp_path / "clip"
    path.write_bytes(head.ljust(64, b"\0"))
    with (
        path.open("rb") as file,
        pytest.raises(AudioRejected, match=r"pip install 'wordwave\[av\]'") as caught,
    ):
        check_container(file.fileno(), 64)
    assert caught.value.reason == "unsupported"


def test_no_bytes_are_empty() -> None:
    assert verdict(b"") == "empty"


@pytest.mark.parametrize("container", ["WAV", "WAVEX", "RF64", "AIFF"])
@given(missing=st.integers(1, 7000))
def test_any_cut_through_the_samples_is_truncated(container: str, missing: int) -> None:
    assert verdict(written(container)[:-missing]) == "truncated"


@pytest.mark.parametrize("unknown", [0, 0x7FFFF000, 0x7FFFEFFC, 0xFFFFFFFF])
def test_the_size_a_writer_to_a_pipe_leaves_is_no_promise(unknown: int) -> None:
    assert verdict(riff((b"fmt ", 16, bytes(16)), (b"data", unknown, bytes(100)))) == "accepted"


def test_chunks_before_the_samples_are_stepped_over_with_their_padding() -> None:
    before = (b"LIST", 3, b"abc\0")
    assert verdict(riff(before, (b"data", 100, bytes(100)))) == "accepted"
    assert verdict(riff(before, (b"data", 100, bytes(99)))) == "truncated"
    assert verdict(riff(before, (b"SSND", 100, bytes(99)), form=b"FORM", order=">")) == "truncated"


def test_a_size_beyond_32_bits_is_held_to_its_promise() -> None:
    sizes = struct.pack("<QQQ", 0, 2**40, 0)
    lie = riff((b"ds64", 24, sizes), (b"data", 0xFFFFFFFF, bytes(100)), form=b"RF64")
    assert verdict(lie) == "truncated"


@given(keep=st.floats(0.05, 0.99))
def test_an_ogg_stream_without_its_last_page_is_truncated(keep: float) -> None:
    content = written("OGG")
    assert verdict(content[: int(keep * len(content))]) == "truncated"


def test_ogg_is_whole_when_something_is_appended_to_it() -> None:
    assert verdict(written("OGG") + b"TAG" + bytes(125)) == "accepted"


@given(
    st.binary(max_size=300),
    st.sampled_from([b"RIFF\0\0\0\0WAVE", b"RF64\0\0\0\0WAVE", b"FORM\0\0\0\0AIFF", b"OggS", b"fLaC"]),
)
def test_any_bytes_behind_the_magic_ones_get_a_verdict(rest: bytes, magic: bytes) -> None:
    assert verdict(magic + rest) in {"accepted", "truncated"}
