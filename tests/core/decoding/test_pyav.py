"""What phones and browsers record is decoded whole by PyAV, in the confined child, or refused."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
import pytest

from core.decoding.audio_stream import AudioInfo, AudioLimits, Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.decoding.in_process import open_audio
from core.errors import AudioRejected

av = pytest.importorskip("av")

RATE = 48_000


def tone(seconds: float, channels: int = 2, rate: int = RATE, frequency: float = 440.0) -> Samples:
    """Return samples (frames, channels)."""
    wave = 0.3 * np.sin(2 * np.pi * frequency * np.arange(int(seconds * rate)) / rate)
    return np.stack([wave] * channels, axis=1).astype(np.float32)


def write(
    container: str,
    *codecs: str,
    samples: Samples | None = None,
    rate: int = RATE,
    video: bool = False,
    **options: str,
) -> bytes:
    """Return a file with one audio stream for each codec."""
    samples = tone(1.0) if samples is None else samples
    layout = {1: "mono", 2: "stereo", 6: "5.1"}[samples.shape[1]]
    with (
        NamedTemporaryFile() as file,  # by name, since an index is put first by reading the file again
        av.open(file.name, "w", format=container, options=options) as output,
    ):
        streams = [output.add_stream(codec, rate=rate, layout=layout) for codec in codecs]
        pictures = (
            output.add_stream("mpeg4", rate=25, width=64, height=64, pix_fmt="yuv420p") if video else None
        )
        for stream in streams:
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples.T), "fltp", layout)
            frame.sample_rate = rate
            output.mux([*stream.encode(frame), *stream.encode(None)])
        if pictures:
            shades = (np.full((64, 64, 3), shade, np.uint8) for shade in range(0, 250, 10))
            for shade in shades:
                output.mux(pictures.encode(av.VideoFrame.from_ndarray(shade, "rgb24")))
            output.mux(pictures.encode(None))
        output.close()
        return Path(file.name).read_bytes()


WHOLE: dict[str, tuple[str, Any]] = {
    "m4a": ("MP4", lambda: write("ipod", "aac")),
    "m4a, lossless": ("MP4", lambda: write("ipod", "alac")),
    "mp4 with pictures": ("MP4", lambda: write("mp4", "aac", video=True)),
    "mp4, index first": ("MP4", lambda: write("mp4", "aac", movflags="faststart")),
    "mp4 in fragments": (
        "MP4",
        lambda: write(
            "mp4", "aac", movflags="frag_keyframe+empty_moov+default_base_moof", frag_duration="200000"
        ),
    ),
    "mp4 with opus": ("MP4", lambda: write("mp4", "libopus")),
    "mp4 with mp3": ("MP4", lambda: write("mp4", "libmp3lame")),
    "mov with pcm": ("MP4", lambda: write("mov", "pcm_s16le")),
    "3gp": ("MP4", lambda: write("3gp", "aac")),
    "aac": ("ADTS", lambda: write("adts", "aac")),
    "aac, joined": ("ADTS", lambda: write("adts", "aac", samples=tone(0.5)) * 2),
    "aac with a tag": ("ADTS", lambda: write("adts", "aac") + b"TAG".ljust(128, b"\0")),
    "webm": ("MATROSKA", lambda: write("webm", "libopus")),
    "webm of a browser": ("MATROSKA", lambda: write("webm", "libopus", live="1")),
    "mkv with pictures": ("MATROSKA", lambda: write("matroska", "aac", video=True)),
    "mkv with pcm": ("MATROSKA", lambda: write("matroska", "pcm_s16le")),
}


@pytest.fixture(scope="module")
def decoder() -> Iterator[ClipDecoder]:
    with ClipDecoder() as decoder:
        yield decoder


def read(decoder: ClipDecoder, path: Path, content: bytes) -> tuple[Samples, AudioInfo]:
    path.write_bytes(content)
    stream = decoder.open(path)
    return np.concatenate(list(stream)), stream.info


def reason(decoder: ClipDecoder, path: Path, content: bytes) -> str:
    try:
        read(decoder, path, content)
    except AudioRejected as rejected:
        return rejected.reason
    return "decoded"


@pytest.mark.parametrize("name", WHOLE)
def test_a_recording_is_decoded_whole_by_the_confined_child(
    decoder: ClipDecoder, tmp_path: Path, name: str
) -> None:
    container, make = WHOLE[name]
    samples, info = read(decoder, tmp_path / "clip", make())
    assert (info.format, info.sample_rate, info.channels) == (container, RATE, 2)
    assert 1.0 <= info.duration < 1.1
    middle = samples[RATE // 4 : 3 * RATE // 4]
    assert abs(np.abs(np.fft.rfft(middle)).argmax() - 220) <= 1  # a join is a short pause
    assert 0.25 < np.abs(middle).max() < 0.35


def test_the_child_decodes_what_this_process_does(decoder: ClipDecoder, tmp_path: Path) -> None:
    samples, info = read(decoder, tmp_path / "clip", write("ipod", "aac", samples=tone(3.0)))
    with (tmp_path / "clip").open("rb") as file:
        stream = open_audio(file)
        np.testing.assert_array_equal(samples, np.concatenate(list(stream)))
    assert info == stream.info


@pytest.mark.parametrize("codec", ["pcm_u8", "pcm_s16le", "pcm_s24le", "pcm_f32le"])
def test_full_scale_is_one_in_every_sample_format(decoder: ClipDecoder, tmp_path: Path, codec: str) -> None:
    samples, _ = read(decoder, tmp_path / "clip", write("matroska", codec))
    np.testing.assert_allclose(samples, tone(1.0)[:, 0], atol=1 / 64 if codec == "pcm_u8" else 1e-4)


NO_PROMISE = {"aac", "aac, joined", "aac with a tag", "webm of a browser", "mp4 in fragments"}
"""Which say nowhere how long they are: a cut between two of their parts cannot be told."""


@pytest.mark.parametrize("name", WHOLE)
def test_a_recording_that_breaks_off_is_never_taken_for_the_whole(
    decoder: ClipDecoder, tmp_path: Path, name: str
) -> None:
    whole = WHOLE[name][1]()
    outcomes = [
        reason(decoder, tmp_path / "clip", whole[: len(whole) * part // 100]) for part in range(6, 100, 9)
    ]
    assert set(outcomes) <= {"truncated", "unreadable", "empty", "too_short"}, outcomes
    if name not in NO_PROMISE:
        assert reason(decoder, tmp_path / "clip", whole[:-1]) == "truncated"


REFUSED: dict[str, tuple[str, Any]] = {
    "two audio streams": ("unread", lambda: write("mp4", "aac", "aac")),
    "two joined mp4": ("unread", lambda: write("mp4", "aac") * 2),
    "two joined webm": ("unread", lambda: write("webm", "libopus") * 2),
    "two joined webm of a browser": ("unread", lambda: write("webm", "libopus", live="1") * 2),
    "aac whose rate changes": (
        "unread",
        lambda: write("adts", "aac") + write("adts", "aac", rate=24_000, samples=tone(1, rate=24_000)),
    ),
    "aac with other bytes behind": ("unread", lambda: write("adts", "aac") + b"more" * 400),
    "mp4 with other bytes behind": ("unread", lambda: write("mp4", "aac") + b"\0\0\0\2more"),
    "no audio": ("unsupported", lambda: write("mp4", video=True)),
    "a coding that is not allowed": ("unsupported", lambda: write("matroska", "ac3")),
    "silence": ("silent", lambda: write("ipod", "alac", samples=0 * tone(1.0))),
    "too short": ("too_short", lambda: write("ipod", "alac", samples=tone(0.01))),
    "a low rate": (
        "bad_rate",
        lambda: write("matroska", "pcm_s16le", rate=2_000, samples=tone(1, rate=2_000)),
    ),
    "no index": ("truncated", lambda: b"\0\0\0\x14ftypM4A \0\0\0\0M4A "),
    "only a magic": ("unreadable", lambda: b"\x1a\x45\xdf\xa3\x80"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_would_go_unread_or_passes_a_limit_is_refused(
    decoder: ClipDecoder, tmp_path: Path, name: str
) -> None:
    expected, make = REFUSED[name]
    assert reason(decoder, tmp_path / "clip", make()) == expected


def test_the_limits_of_a_clip_hold(tmp_path: Path) -> None:
    limits = AudioLimits(max_channels=2, max_duration=2.0, max_expansion=10, min_bomb_bytes=0)
    with ClipDecoder(limits) as decoder:
        six, long = write("ipod", "aac", samples=tone(1, 6)), write("ipod", "alac", samples=tone(3.0))
        assert reason(decoder, tmp_path / "clip", six) == "bad_channels"
        assert reason(decoder, tmp_path / "clip", long) == "too_long"
        quiet = write("adts", "aac", samples=1e-3 * tone(1.5), b="8000")
        assert reason(decoder, tmp_path / "clip", quiet) == "bomb"


def test_damage_gives_a_clip_or_a_reason_and_never_another_child(
    decoder: ClipDecoder, tmp_path: Path
) -> None:
    random = np.random.default_rng(0)
    for name in ("m4a", "mp4 in fragments", "aac", "webm", "webm of a browser"):
        whole = WHOLE[name][1]()
        for _ in range(20):
            damaged = bytearray(whole)
            for place in (random.random(4) ** 2 * len(whole)).astype(int):
                damaged[place] = random.integers(256)
            reason(decoder, tmp_path / "clip", bytes(damaged))
    first = decoder.pid
    read(decoder, tmp_path / "clip", WHOLE["m4a"][1]())
    assert decoder.pid == first
