import ctypes
import hashlib
import io
import json
import os
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.decoding.audio_stream import BLOCK_SAMPLES, AudioInfo, AudioLimits, Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.decoding.child_process.main import CHILD_MEMORY_BYTES
from core.decoding.in_process import open_audio
from core.decoding.pyav.sound import find_av
from core.errors import AudioRejected
from tests.eventually import eventually

RATE = 16_000
NOISE = np.random.default_rng(0).uniform(-0.5, 0.5, RATE).astype(np.float32)


@pytest.fixture(scope="module")
def decoder() -> Iterator[ClipDecoder]:
    with ClipDecoder() as decoder:
        yield decoder


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Write a second of noise."""
    path = tmp_path / "clip"
    soundfile.write(path, NOISE, RATE, format="WAV", subtype="FLOAT")
    return path


@pytest.fixture
def long_clip(tmp_path: Path) -> Path:
    """Write five blocks and a bit."""
    path = tmp_path / "long clip"
    samples = np.resize([0.25, -0.25], 5 * BLOCK_SAMPLES + 9)
    soundfile.write(path, samples, RATE, format="WAV", subtype="FLOAT")
    return path


def read(decoder: ClipDecoder, path: Path) -> tuple[Samples, AudioInfo]:
    stream = decoder.open(path)
    return np.concatenate(list(stream)), stream.info


def outcome(decoder: ClipDecoder, path: Path) -> dict[str, Any]:
    try:
        info = read(decoder, path)[1]
    except AudioRejected as rejected:
        return {"reason": rejected.reason}
    facts = {"sample_rate": info.sample_rate, "channels": info.channels, "num_samples": info.num_samples}
    return {"decodes": facts}


def memory(pid: int, field: str) -> int:
    """Return the bytes of a field of /proc/PID/status."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{field}:"))


@pytest.mark.data
def test_every_odd_file_fares_as_expected_in_one_child(decoder: ClipDecoder, test_data: Path) -> None:
    expectations = json.loads((Path(__file__).parents[1] / "edge_expectations.json").read_text("utf-8"))
    paths = [path for path in (test_data / "edge" / "dev").iterdir() if path.suffix != ".jsonl"]
    assert paths
    pids = set()
    for path in paths:
        expected = expectations[hashlib.sha256(path.read_bytes()).hexdigest()]
        if find_av() and expected["note"] in {"MP4", "Matroska", "WebM"}:
            continue  # these are the outcomes without it
        assert {"note": expected["note"], **outcome(decoder, path)} == expected, path.name
        pids.add(decoder.pid)
    assert len(pids) == 1


def test_blocks_and_info_are_those_of_the_same_process(decoder: ClipDecoder, long_clip: Path) -> None:
    with long_clip.open("rb") as file:
        here = open_audio(file)
        there = decoder.open(long_clip)
        for block, other in zip(here, there, strict=True):
            np.testing.assert_array_equal(block, other)
    assert here.sample_rate == there.sample_rate
    assert here.info == there.info


def test_one_child_decodes_many_clips_and_keeps_no_descriptor(
    decoder: ClipDecoder, clip: Path, long_clip: Path, tmp_path: Path
) -> None:
    bad = tmp_path / "bad"
    bad.write_bytes(b"RIFF\0\0\0\0WAVEfmt ")
    read(decoder, clip)
    pid, ours = decoder.pid, len(os.listdir("/proc/self/fd"))
    theirs = len(os.listdir(f"/proc/{pid}/fd"))
    for _ in range(20):
        read(decoder, clip)
        outcome(decoder, bad)
        next(iter(decoder.open(long_clip)))
    read(decoder, clip)
    assert decoder.pid == pid
    assert len(os.listdir("/proc/self/fd")) == ours
    assert len(os.listdir(f"/proc/{pid}/fd")) == theirs


@pytest.mark.parametrize("blocks_read", [0, 1, 3])
def test_a_stream_left_half_way_does_not_touch_the_next_clip(
    decoder: ClipDecoder, clip: Path, long_clip: Path, blocks_read: int
) -> None:
    left = decoder.open(long_clip)
    blocks = iter(left)
    for _ in range(blocks_read):
        next(blocks)
    samples, info = read(decoder, clip)
    np.testing.assert_array_equal(samples, NOISE)
    assert info.num_samples == RATE
    with pytest.raises(ValueError, match="moved on"):
        list(blocks)


def test_a_rejected_clip_does_not_touch_the_next_one(
    decoder: ClipDecoder, clip: Path, tmp_path: Path
) -> None:
    late = tmp_path / "late"
    samples = np.full(3 * BLOCK_SAMPLES, 0.5, np.float32)
    samples[-1] = np.nan
    soundfile.write(late, samples, RATE, format="WAV", subtype="FLOAT")
    assert outcome(decoder, late) == {"reason": "not_finite"}
    np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)


def test_a_crash_rejects_the_clip_and_the_next_one_decodes(clip: Path, long_clip: Path) -> None:
    with ClipDecoder() as decoder:
        blocks = iter(decoder.open(long_clip))
        assert decoder.pid
        os.kill(decoder.pid, signal.SIGSEGV)
        with pytest.raises(AudioRejected, match="crashed") as caught:
            list(blocks)
        assert caught.value.reason == "unreadable"
        np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)


def test_a_kill_from_outside_is_not_blamed_on_the_clip(clip: Path, long_clip: Path) -> None:
    with ClipDecoder() as decoder:
        blocks = iter(decoder.open(long_clip))
        assert decoder.pid
        os.kill(decoder.pid, signal.SIGKILL)
        with pytest.raises(ChildProcessError, match="killed by signal 9"):
            list(blocks)
        np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)


def test_a_child_that_died_between_two_clips_is_replaced(clip: Path) -> None:
    with ClipDecoder() as decoder:
        read(decoder, clip)
        pid = decoder.pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        assert eventually(lambda: Path(f"/proc/{pid}/status").read_text().find("State:\tZ") > 0)
        np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)
        assert decoder.pid != pid


@pytest.mark.parametrize("limits", [AudioLimits(stall_timeout=0.2), AudioLimits(decode_timeout=0.2)])
def test_a_child_that_stalls_is_killed_and_replaced(clip: Path, long_clip: Path, limits: AudioLimits) -> None:
    with ClipDecoder(limits) as decoder:
        blocks = iter(decoder.open(long_clip))
        pid = decoder.pid
        assert pid
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(AudioRejected) as caught:
            list(blocks)
        assert caught.value.reason == "timeout"
        assert not Path(f"/proc/{pid}").exists()
        np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)


def test_an_interrupt_while_waiting_leaves_nothing_for_the_next_clip(clip: Path, long_clip: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with ClipDecoder() as decoder:
            blocks = iter(decoder.open(long_clip))
            assert decoder.pid
            os.kill(decoder.pid, signal.SIGSTOP)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt):
                list(blocks)
            np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_a_file_that_is_not_there_is_no_verdict_on_a_clip(decoder: ClipDecoder, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        decoder.open(tmp_path / "nothing")


def test_closing_ends_the_child_and_may_be_repeated(clip: Path) -> None:
    decoder = ClipDecoder()
    stream = decoder.open(clip)
    pid = decoder.pid
    decoder.close()
    decoder.close()
    assert decoder.pid is None
    assert not Path(f"/proc/{pid}").exists()
    assert sum(map(len, stream)) == RATE, "what had arrived can still be read"


def test_a_child_that_hangs_dies_with_its_parent(clip: Path) -> None:
    script = (
        "import sys, time; from core.decoding.child_process.decoder import ClipDecoder; "
        "decoder = ClipDecoder(); "
        "decoder.open(sys.argv[1]); print(decoder.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script, clip], stdout=subprocess.PIPE, text=True)
    with parent:
        assert parent.stdout
        pid = int(parent.stdout.readline())
        os.kill(pid, signal.SIGSTOP)
        parent.kill()
    assert eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_the_child_knows_nothing_of_the_parents_environment(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    with ClipDecoder() as decoder:
        read(decoder, clip)
        assert b"hidden" not in Path(f"/proc/{decoder.pid}/environ").read_bytes()


def test_the_memory_of_the_process_that_decodes_is_hidden(clip: Path, decoder: ClipDecoder) -> None:
    read(decoder, clip)
    get_dumpable = 3
    assert ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0) == 0


def test_the_child_loads_no_torch(clip: Path, decoder: ClipDecoder) -> None:
    read(decoder, clip)
    assert "torch" not in Path(f"/proc/{decoder.pid}/maps").read_text()


def hostile_wav(
    *, rate: int = RATE, channels: int = 1, bits: int = 16, tag: int = 1, data: int = 4000
) -> bytes:
    frame = channels * bits // 8
    form = struct.pack(
        "<HHIIHH", tag, channels & 0xFFFF, rate, rate * frame & 0xFFFFFFFF, frame & 0xFFFF, bits
    )
    chunks = (
        b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", data) + NOISE.tobytes()[:4000]
    )
    return b"RIFF" + struct.pack("<I", len(chunks) + 4) + b"WAVE" + chunks


def hostile_flac(offset: int, content: bytes) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, format="FLAC")
    return file.getvalue()[:offset] + content + file.getvalue()[offset + len(content) :]


def hostile_rf64(sample_bytes: int, frames: int) -> bytes:
    sizes = b"ds64" + struct.pack("<IQQQI", 28, 2**62, sample_bytes, frames, 0)
    return hostile_wav(data=0xFFFFFFFF).replace(b"RIFF", b"RF64", 1).replace(b"fmt ", sizes + b"fmt ", 1)


HOSTILE = {
    "1024 channels": hostile_wav(channels=1024),
    "65535 channels": hostile_wav(channels=65_535),
    "2 GHz": hostile_wav(rate=2_000_000_000),
    "1 Hz": hostile_wav(rate=1),
    "zero bits": hostile_wav(bits=0),
    "65535 bits": hostile_wav(bits=65_535),
    "2 GiB of samples": hostile_wav(data=0x7FFEFFFF),
    "ADPCM with a huge block": hostile_wav(tag=2, bits=4, channels=2),
    "GSM": hostile_wav(tag=49, bits=0),
    "RF64 of 2**60 bytes": hostile_rf64(2**60, 2**59),
    "RF64 of 2**60 frames": hostile_rf64(4000, 2**60),
    "FLAC of 2**36 frames": hostile_flac(21, b"\xff" * 5),
    "FLAC of blocks of 65535": hostile_flac(8, b"\xff" * 4),
    "FLAC of 1 MHz": hostile_flac(18, b"\xff" * 2),
    "AU of 2**32 bytes": b".snd" + struct.pack(">IIIII", 24, 0xFFFFFFFE, 3, RATE, 1024) + bytes(4000),
    "CAF of 2**63 bytes": b"caff\0\1\0\0desc"
    + struct.pack(">Qd4sIIIII", 32, 16e3, b"lpcm", 0, 2**31, 1, 2**31, 16)
    + b"data"
    + struct.pack(">Q", 2**63 - 1)
    + bytes(4000),
    "sphere of 2**40 samples": (
        b"NIST_1A\n   1024\nchannel_count -i 1\nsample_rate -i 16000\n"
        b"sample_count -i 1099511627776\nsample_n_bytes -i 2\nend_head\n"
    ).ljust(1024)
    + bytes(4000),
    "ID3 tag of 256 MiB": b"ID3\x04\0\0\x7f\x7f\x7f\x7f" + bytes(4000),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_no_claim_of_a_header_is_paid_for_in_memory(decoder: ClipDecoder, tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name])
    result = outcome(decoder, path)
    assert decoder.pid
    assert memory(decoder.pid, "VmHWM") < 128 * 1024**2, result


def test_the_child_cannot_pass_its_memory_limit(decoder: ClipDecoder, clip: Path) -> None:
    read(decoder, clip)
    limits = Path(f"/proc/{decoder.pid}/limits").read_text().splitlines()
    assert next(line.split()[3] for line in limits if "address space" in line) == str(CHILD_MEMORY_BYTES)


def test_a_child_is_replaced_before_its_time_on_the_cpu_ends(
    clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("core.decoding.child_process.decoder._CHILD_WORK_SECONDS", 1e-6)
    with ClipDecoder(AudioLimits(decode_timeout=7)) as decoder:
        read(decoder, clip)
        first = decoder.pid
        limits = Path(f"/proc/{first}/limits").read_text().splitlines()
        assert next(line.split()[3] for line in limits if "cpu time" in line) == "8"
        np.testing.assert_array_equal(read(decoder, clip)[0], NOISE)
        assert decoder.pid != first


def encoded(container: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, NOISE, RATE, format=container)
    return file.getvalue()


@pytest.mark.parametrize("container", ["WAV", "AIFF", "AU", "CAF", "W64", "NIST", "FLAC", "OGG", "MP3"])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    damage=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), min_size=1
    )
)
def test_damage_anywhere_gives_a_clip_or_a_reason(
    decoder: ClipDecoder, tmp_path: Path, container: str, damage: list[tuple[float, bytes]]
) -> None:
    content = bytearray(encoded(container))
    for position, patch in damage:
        # To the fourth power, so that most of the damage meets the headers.
        start = int(position**4 * len(content))
        content[start : start + len(patch)] = patch
    path = tmp_path / "damaged"
    path.write_bytes(content)
    result = outcome(decoder, path)
    assert result.get("reason") != "timeout"
    assert decoder.pid is None or memory(decoder.pid, "VmHWM") < 128 * 1024**2
