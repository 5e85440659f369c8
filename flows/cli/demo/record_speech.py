"""Records the demonstration's speech: `python -m flows.cli.demo.record_speech`, with espeak-ng on the PATH.

One FLAC for each row of speech.jsonl and digits.jsonl, where texts, voices and speeds are written down. It
was run once and its output is kept, so that the demonstration needs no espeak-ng.
"""

import json
from pathlib import Path

import soundfile

from core.training.data.families import SAMPLE_RATE
from core.training.data.speech import speak

SENTENCES, DIGITS = (Path(__file__).with_name(name) for name in ("speech.jsonl", "digits.jsonl"))


def record(sentences: Path, folder: Path) -> None:
    """Write folder/01.flac and so on, one for each row {"text", "voice", "speed", "pitch"}."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, line in enumerate(sentences.read_text(encoding="utf-8").splitlines(), start=1):
        row = json.loads(line)
        samples = speak(row.pop("text"), **row)
        path = folder / f"{number:02}.flac"
        soundfile.write(path, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")


if __name__ == "__main__":
    for texts in (SENTENCES, DIGITS):
        record(texts, texts.with_suffix(""))
