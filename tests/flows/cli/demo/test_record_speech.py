import json
import shutil
from pathlib import Path

import pytest
import soundfile

from core.training.data.speech import VOICES
from flows.cli.demo.audio_clips import DIGIT_RECORDINGS, TAKES
from flows.cli.demo.clips import LIBRARY_TAKES, QUERY_TAKES, RECORDINGS
from flows.cli.demo.record_speech import DIGITS, SENTENCES, record

ROWS = [json.loads(line) for line in SENTENCES.read_text(encoding="utf-8").splitlines()]


def test_every_sentence_is_recorded_and_there_are_as_many_as_takes() -> None:
    names = [f"{number:02}.flac" for number in range(1, len(ROWS) + 1)]
    assert sorted(path.name for path in RECORDINGS.iterdir()) == names
    assert len(ROWS) == LIBRARY_TAKES + QUERY_TAKES


def test_every_digit_is_recorded_by_one_voice_as_often_as_it_is_shown() -> None:
    rows = [json.loads(line) for line in DIGITS.read_text(encoding="utf-8").splitlines()]
    assert sorted(path.name for path in DIGIT_RECORDINGS.iterdir()) == [
        f"{number:02}.flac" for number in range(1, len(rows) + 1)
    ]
    assert [row["text"] for row in rows] == [row["text"] for row in rows[:10]] * TAKES
    assert len({(row["text"], row["speed"]) for row in rows}) == len(rows)
    assert len({row["voice"] for row in rows}) == 1
    assert all(soundfile.info(path).duration <= 0.72 for path in DIGIT_RECORDINGS.iterdir())


def test_no_sentence_and_no_voice_comes_twice_and_all_voices_are_known() -> None:
    assert len({row["text"] for row in ROWS}) == len({row["voice"] for row in ROWS}) == len(ROWS)
    assert {row["voice"] for row in ROWS} <= set(VOICES)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_a_recording_can_be_made_again(tmp_path: Path) -> None:
    sentences = tmp_path / "speech.jsonl"
    sentences.write_text(json.dumps(ROWS[0]) + "\n")
    record(sentences, tmp_path)
    again, kept = soundfile.info(tmp_path / "01.flac"), soundfile.info(RECORDINGS / "01.flac")
    assert again.duration == pytest.approx(kept.duration, rel=0.1)  # another espeak-ng may speak otherwise
