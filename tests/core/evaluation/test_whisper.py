"""The judge of speech is joined from its packages, and hears recorded speech."""

from importlib.util import find_spec
from pathlib import Path

import pytest

from benchmarks.recorded import manifest
from core.audio.resampling import read_waveform
from core.evaluation import whisper as judge
from core.evaluation.whisper import find_whisper, join_parts
from core.evaluation.word_errors import word_error_rate


def test_a_network_in_parts_is_joined_in_order(tmp_path: Path) -> None:
    parts = [tmp_path / "1", tmp_path / "2"]
    for number, part in enumerate(parts, start=1):
        part.mkdir()
        (part / f"model.bin.part{number}").write_bytes(f"half {number};".encode())
    (parts[0] / "config.json").write_text("{}")
    (tmp_path / "joined").mkdir()
    join_parts(parts, tmp_path / "joined")
    assert (tmp_path / "joined" / "model.bin").read_bytes() == b"half 1;half 2;"
    assert (tmp_path / "joined" / "config.json").read_text() == "{}"


def test_without_the_packages_nothing_is_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge, "RUNTIME", "no_such_package")
    assert find_whisper() is None


@pytest.mark.skipif(
    any(find_spec(name) is None for name in (judge.RUNTIME, *judge.PARTS)), reason=judge.MISSING
)
def test_recorded_speech_is_mostly_understood(request: pytest.FixtureRequest) -> None:
    test_data: Path = request.getfixturevalue("test_data")  # not asked for where Whisper is missing
    whisper, row = find_whisper(), manifest(test_data, "speech_text")[0]
    assert whisper
    waveform, _ = read_waveform(test_data / row["path"], judge.SAMPLE_RATE)
    assert word_error_rate([row["labels"]["text"]], [whisper.transcript(waveform)]) < 0.5
