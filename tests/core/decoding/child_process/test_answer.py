"""A child that was taken over may answer what it likes: the clip is rejected, and nothing else happens."""

import json
import math
import socket
import struct
import subprocess
import sys
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.decoding.audio_stream import AudioInfo, AudioLimits
from core.decoding.child_process import decoder as decoder_module
from core.decoding.child_process.answer import AnswerValidator, InvalidAnswer, _Info
from core.decoding.child_process.decoder import ClipDecoder
from core.decoding.child_process.protocol import pack_answer
from core.errors import AudioRejected

BLOCK = np.array([0.5, -0.25], np.float32)
INFO = asdict(AudioInfo("WAV", 16_000, 1, 2, 0.5))
HONEST = {"sample_rate": 16_000, "info": INFO}


def take(facts: object, block: bytes = BLOCK.tobytes(), limits: AudioLimits | None = None) -> AnswerValidator:
    encoded = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    clip = AnswerValidator(limits or AudioLimits())
    clip.accept(encoded, block)
    return clip


def test_an_honest_answer_is_taken() -> None:
    clip = take(HONEST)
    assert clip.info == AudioInfo(**INFO)


def test_all_facts_of_a_clip_are_checked() -> None:
    assert list(_Info.model_fields) == [field.name for field in fields(AudioInfo)]


def changed(**info: Any) -> dict[str, Any]:
    return {**HONEST, "info": {**INFO, **info}}


LIES: dict[str, tuple[object, bytes]] = {
    "no JSON": (b"facts", BLOCK.tobytes()),
    "nothing": (b"", BLOCK.tobytes()),
    "no UTF-8": (b'{"sample_rate": 16000, "info": "\xff"}', BLOCK.tobytes()),
    "half a surrogate": (json.dumps(changed(format="\ud800")).encode(), BLOCK.tobytes()),
    "deep JSON": (b"[" * 30_000, BLOCK.tobytes()),
    "deep objects": (b'{"info":' * 5_000, BLOCK.tobytes()),
    "a list": ([], BLOCK.tobytes()),
    "null": (None, BLOCK.tobytes()),
    "no rate": ({"info": INFO}, BLOCK.tobytes()),
    "rate 0": ({"sample_rate": 0}, BLOCK.tobytes()),
    "rate -1": ({"sample_rate": -1}, BLOCK.tobytes()),
    "rate as text": ({"sample_rate": "16000"}, BLOCK.tobytes()),
    "rate as fraction": ({"sample_rate": 16_000.5}, BLOCK.tobytes()),
    "rate as truth": ({"sample_rate": True}, BLOCK.tobytes()),
    "rate of 10**400": (b'{"sample_rate": 1' + b"0" * 400 + b"}", BLOCK.tobytes()),
    "another rate in the info": (changed(sample_rate=8_000), BLOCK.tobytes()),
    "negative channels": (changed(channels=-1), BLOCK.tobytes()),
    "nine channels": (changed(channels=9), BLOCK.tobytes()),
    "more samples than came": (changed(num_samples=3), BLOCK.tobytes()),
    "NaN peak": (changed(peak=math.nan), BLOCK.tobytes()),
    "infinite peak": (changed(peak=math.inf), BLOCK.tobytes()),
    "another peak": (changed(peak=0.25), BLOCK.tobytes()),
    "a zero byte": (changed(format="WAV\0"), BLOCK.tobytes()),
    "a terminal's command": (changed(format="\x1b]0;owned\x07"), BLOCK.tobytes()),
    "a format without end": (changed(format="W" * 60_000), BLOCK.tobytes()),
    "one key more": ({**HONEST, "path": "/etc"}, BLOCK.tobytes()),
    "one fact more": (changed(path="/etc"), BLOCK.tobytes()),
    "one fact less": ({**HONEST, "info": {"format": "WAV"}}, BLOCK.tobytes()),
    "a reason that is none": ({"rejected": ["owned", "x"]}, b""),
    "a reason without a message": ({"rejected": ["silent"]}, b""),
    "a reason with three parts": ({"rejected": ["silent", "x", "y"]}, b""),
    "a reason with a zero byte": ({"rejected": ["silent", "\0"]}, b""),
    "a reason and samples": ({"rejected": ["silent", "x"]}, BLOCK.tobytes()),
    "a reason and facts": ({**HONEST, "rejected": ["silent", "x"]}, b""),
    "no samples": (HONEST, b""),
    "half a sample": (HONEST, BLOCK.tobytes()[:-1]),
    "NaN": ({"sample_rate": 16_000}, np.array([math.nan], np.float32).tobytes()),
    "infinity": ({"sample_rate": 16_000}, np.array([0, -math.inf], np.float32).tobytes()),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_not_taken(lie: str) -> None:
    with pytest.raises(InvalidAnswer) as caught:
        take(*LIES[lie])
    assert "owned" not in str(caught.value)


def test_a_clip_is_held_to_its_first_rate_and_to_the_longest_duration() -> None:
    clip = AnswerValidator(AudioLimits(max_duration=3 / 16_000))
    clip.accept(b'{"sample_rate": 16000}', BLOCK.tobytes())
    with pytest.raises(InvalidAnswer, match="rate changed"):
        clip.accept(b'{"sample_rate": 8000}', BLOCK.tobytes())
    with pytest.raises(InvalidAnswer, match="longest duration"):
        clip.accept(b'{"sample_rate": 16000}', BLOCK.tobytes())


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*HONEST, *INFO, "rejected"]), inner),
)


@given(facts=JSON.map(lambda value: json.dumps(value).encode()) | st.binary(), block=st.binary())
def test_any_answer_gives_finite_samples_or_one_of_two_errors(facts: bytes, block: bytes) -> None:
    try:
        samples = AnswerValidator(AudioLimits()).accept(facts, block)
    except (AudioRejected, InvalidAnswer):
        return
    assert np.isfinite(samples).all()


@given(name=st.sampled_from(list(INFO)), value=JSON)
def test_a_clip_of_any_other_fact_is_not_taken(name: str, value: Any) -> None:
    if json.dumps(value) == json.dumps(INFO[name]) or name in ("format", "channels"):
        return
    if name == "peak" and value == 0.5:
        return
    with pytest.raises(InvalidAnswer):
        take(changed(**{name: value}))


LIAR = """
import socket, sys
with socket.socket(fileno=0) as channel:
    channel.sendall(bytes.fromhex(sys.argv[1]))
    while channel.recv(1):
        channel.sendall(bytes.fromhex(sys.argv[2]))
"""


@pytest.mark.parametrize("lie", ["deep JSON", "no UTF-8", "rate 0", "NaN", "lengths of 4 GiB"])
def test_the_child_that_lies_is_ended_and_its_clip_rejected(
    lie: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def start_liar(_: str, *__: str, channel: socket.socket, environment: object) -> Any:
        command = [sys.executable, "-c", LIAR, pack_answer().hex(), wire(lie).hex()]
        return subprocess.Popen(command, stdin=channel.fileno())

    monkeypatch.setattr(decoder_module, "start_child", start_liar)
    clip = tmp_path / "clip"
    clip.write_bytes(b"any")
    with ClipDecoder() as decoder:
        with pytest.raises(AudioRejected, match="invalid answer of the decoding process") as caught:
            list(decoder.open(clip))
        assert caught.value.reason == "unreadable"
        assert decoder.pid is None


def wire(lie: str) -> bytes:
    if lie.startswith("lengths"):
        return struct.pack("<II", 2**32 - 1, 2**32 - 1)
    facts, block = LIES[lie]
    encoded = facts if isinstance(facts, bytes) else json.dumps(facts).encode()
    return struct.pack("<II", len(encoded), len(block)) + encoded + block
