"""Word errors are an edit distance over words, and the judge hears recorded speech."""

from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.judges import word_errors as judge
from benchmarks.judges.word_errors import find_whisper, join_parts, word_error_rate, word_errors, words
from benchmarks.recorded import manifest
from core.audio.resampling import read_waveform

TEXTS = st.lists(st.sampled_from(["one", "two", "three"]), max_size=6).map(" ".join)


@pytest.mark.parametrize(
    ("heard", "errors"),
    [
        ("The cat, sat DOWN.", 0),
        ("the cat down", 1),
        ("the fat cat sat down", 1),
        ("the bat sat down", 1),
        ("", 4),
        ("down sat cat the", 4),
    ],
)
def test_words_left_out_put_in_and_exchanged_count_once(heard: str, errors: int) -> None:
    assert word_errors("the cat sat down", heard) == errors


@given(TEXTS, TEXTS, TEXTS)
def test_errors_are_a_distance(one: str, other: str, third: str) -> None:
    assert (word_errors(one, other) == 0) == (words(one) == words(other))
    assert word_errors(one, other) == word_errors(other, one)
    assert word_errors(one, third) <= word_errors(one, other) + word_errors(other, third)


def test_the_rate_is_over_all_words_and_needs_some() -> None:
    assert word_error_rate(["one two three", "four"], ["one two", "for"]) == 0.5
    with pytest.raises(ValueError, match="no words"):
        word_error_rate(["..."], [""])


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
