"""Codings that are not allowed are refused by the header alone; an operator may allow more."""

import io
import struct
import tempfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from core.decoding.audio_stream import EXTRA_CODINGS, AudioLimits
from core.decoding.formats.codings import check_coding, check_subtype
from core.decoding.in_process import open_audio
from core.errors import AudioRejected

RATE = 8_000
TONE = 0.5 * np.sin(np.arange(RATE) * 0.1)

RARE = [
    ("WAV", "IMA_ADPCM", "ima_adpcm"),
    ("WAV", "MS_ADPCM", "ms_adpcm"),
    ("WAV", "NMS_ADPCM_16", "nms_adpcm"),
    ("WAV", "GSM610", "gsm"),
    ("WAV", "G721_32", "g721"),
    ("WAVEX", "MS_ADPCM", "ms_adpcm"),
    ("W64", "IMA_ADPCM", "ima_adpcm"),
    ("W64", "MS_ADPCM", "ms_adpcm"),
    ("W64", "GSM610", "gsm"),
    ("AIFF", "IMA_ADPCM", "ima_adpcm"),
    ("AIFF", "GSM610", "gsm"),
    ("AIFF", "DWVW_16", "dwvw"),
    ("AU", "G721_32", "g721"),
    ("AU", "G723_24", "g723"),
    ("AU", "G723_40", "g723"),
    ("CAF", "ALAC_16", "alac"),
]
RARE = [row for row in RARE if soundfile.check_format(*row[:2])]


def written(container: str, subtype: str, endian: str = "FILE") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, TONE, RATE, format=container, subtype=subtype, endian=endian)
    return file.getvalue()


def refusal(content: bytes, *extra_codings: str) -> str:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        try:
            check_coding(file.fileno(), extra_codings)
        except AudioRejected as rejected:
            return str(rejected)
    return ""


def wav_of_tag(tag: int, *, extensible: bool = False, order: str = "<", magic: bytes = b"RIFF") -> bytes:
    form = struct.pack(f"{order}HHIIHH", 0xFFFE if extensible else tag, 1, RATE, RATE, 1, 8)
    if extensible:
        form += struct.pack(f"{order}HHIH", 22, 8, 0, tag) + bytes(14)
    chunks = b"fmt " + struct.pack(f"{order}I", len(form)) + form + b"data" + struct.pack(f"{order}I", 0)
    return magic + struct.pack(f"{order}I", len(chunks) + 4) + b"WAVE" + chunks


@pytest.mark.parametrize(("container", "subtype", "coding"), RARE)
def test_a_rare_coding_is_refused_with_the_setting_that_allows_it(
    tmp_path: Path, container: str, subtype: str, coding: str
) -> None:
    path = tmp_path / "clip"
    path.write_bytes(written(container, subtype))
    with path.open("rb") as file, pytest.raises(AudioRejected) as caught:
        open_audio(file)
    assert caught.value.reason == "unsupported"
    assert f"WORDWAVE_EXTRA_CODINGS={coding}" in caught.value.message
    with path.open("rb") as file:
        samples = np.concatenate(list(open_audio(file, AudioLimits(extra_codings=(coding,)))))
    assert len(samples) >= len(TONE)
    assert np.corrcoef(samples[: len(TONE)], TONE)[0, 1] > 0.9


@pytest.mark.parametrize(("tag", "coding"), [(0x02, "ms_adpcm"), (0x11, "ima_adpcm"), (0x55, "mpeg")])
@pytest.mark.parametrize("extensible", [False, True])
@pytest.mark.parametrize(("magic", "order"), [(b"RIFF", "<"), (b"RF64", "<"), (b"RIFX", ">")])
def test_the_tag_of_a_wav_is_found_in_every_form_of_it(
    tag: int, coding: str, extensible: bool, magic: bytes, order: str
) -> None:
    content = wav_of_tag(tag, extensible=extensible, order=order, magic=magic)
    for before in (b"", b"ID3\x03\0\0\0\0\0\x0a" + bytes(10)):
        refused = refusal(before + content, *set(EXTRA_CODINGS) - {coding})
        assert refused.startswith(f"unsupported: the coding is {coding}")
        assert not refusal(before + content, coding)


@pytest.mark.parametrize("tag", [0, 0x161, 0xFF, 0x7ABC])
def test_a_coding_that_nothing_decodes_is_refused_without_a_setting(tag: int) -> None:
    refused = refusal(wav_of_tag(tag), *EXTRA_CODINGS)
    assert refused.startswith("unsupported")
    assert "WORDWAVE" not in refused


def test_a_second_format_chunk_hides_nothing() -> None:
    content = wav_of_tag(1)
    start = content.index(b"data")
    adpcm = wav_of_tag(0x11)[12:36]
    assert refusal(content[:start] + adpcm + content[start:])
    assert refusal(content + adpcm)
    assert refusal(content[:12] + adpcm + content[12:])


def test_samples_before_any_format_are_unreadable() -> None:
    content = wav_of_tag(1)
    assert refusal(content[:12] + content[36:44] + content[12:36]).startswith("unreadable")


@pytest.mark.parametrize("coding", ["pcm,embedded-shorten-v2.00", "alaw,embedded-wavpack", "mystery"])
def test_a_sphere_with_a_compression_is_refused(coding: str) -> None:
    content = written("NIST", "PCM_16").replace(
        b"sample_coding -s3 pcm", f"sample_coding -s{len(coding)} {coding}".encode()
    )
    assert refusal(content).startswith("unsupported")


@pytest.mark.parametrize("packet", [b"Speex   1.2", b"\x7fFLAC\x01\x00", b"\x80theora", b"fishead\0", b""])
def test_other_codecs_in_ogg_are_refused(packet: bytes) -> None:
    page = b"OggS\0\2" + bytes(20) + b"\x01" + bytes([len(packet)]) + packet
    assert refusal(page).startswith("unsupported")


def test_what_libsndfile_finds_is_asked_again() -> None:
    check_subtype("MP3", "MPEG_LAYER_III", ())
    check_subtype("WAV", "GSM610", ("gsm",))
    for subtype in ("IMA_ADPCM", "GSM610", "G723_24", "MPEG_LAYER_III", "NMS_ADPCM_32", "ALAC_24"):
        with pytest.raises(AudioRejected, match="unsupported"):
            check_subtype("WAV", subtype, ())


def test_headers_that_end_early_get_a_verdict() -> None:
    for content in (
        written("WAV", "PCM_16"),
        written("AIFF", "FLOAT"),
        written("CAF", "ULAW"),
        written("AU", "ALAW"),
    ):
        for length in range(4, 60):
            refused = refusal(content[:length])
            assert refused.partition(":")[0] in {"", "unreadable", "unsupported"}


def test_a_hostile_number_of_chunks_is_bounded() -> None:
    chunks = 1_000_000 * (b"junk" + bytes(4))
    assert refusal(b"RIFF" + bytes(4) + b"WAVE" + chunks).startswith("unreadable")
