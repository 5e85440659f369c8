import shutil
from pathlib import Path

import numpy as np
import pytest

from core.training.data.speech import VOICES, speak

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@needs_espeak
def test_speech_is_mono_float_at_16_khz_and_audible() -> None:
    samples = speak("the quick brown fox")
    assert samples.dtype == np.float32
    assert samples.ndim == 1
    assert 0.5 < len(samples) / 16000 < 4
    assert 0.1 < np.abs(samples).max() <= 1.2


@needs_espeak
def test_equal_requests_give_equal_samples() -> None:
    np.testing.assert_array_equal(speak("again", voice="en+f2"), speak("again", voice="en+f2"))


@needs_espeak
def test_voices_accents_speed_and_pitch_can_be_heard() -> None:
    spoken = [speak("one two three", voice=voice) for voice in VOICES[:: len(VOICES) // 12]]
    spoken += [speak("one two three", speed=240), speak("one two three", pitch=90)]
    assert len({samples.tobytes() for samples in spoken}) == len(spoken)


@needs_espeak
def test_faster_speech_is_shorter() -> None:
    assert len(speak("a longer sentence", speed=250)) < len(speak("a longer sentence", speed=100))


@needs_espeak
def test_text_that_looks_like_an_option_is_spoken() -> None:
    assert len(speak("--version -w out.wav")) > 8000


@needs_espeak
@pytest.mark.parametrize(("text", "voice"), [("", "en"), ("hello", "nobody")])
def test_what_cannot_be_spoken_is_an_error_that_names_it(text: str, voice: str) -> None:
    with pytest.raises(ValueError, match=f"cannot speak '{text}' as '{voice}'"):
        speak(text, voice=voice)


def test_a_missing_program_is_an_error_that_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install the package espeak-ng"):
        speak("hello")
