"""What the small LLaMA that answers with audio never learned from, as its own training states it."""

from pathlib import Path

import core.training
from benchmarks.recorded import DataRow
from core.training.audio_llm.trainer import AnswerTraining

TRAINING = Path(core.training.__file__).parent / "configs" / "mini-llama-audio.json"
_SPEC = AnswerTraining.from_json(TRAINING).clips


def held_out(row: DataRow) -> bool:
    """Return whether a row's voice was not learned: a digit's take, an utterance, or what is under noise."""
    if row["speaker"].startswith("fsdd:"):
        recording = Path(row.get("clean_from", row["path"])).stem
        return int(recording.rpartition("_")[2]) < _SPEC.held_out_takes
    return not row["speaker"].startswith("librispeech:") or row["speaker"] in _SPEC.held_out_speakers
