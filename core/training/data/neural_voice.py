"""Speech by a Piper voice (a VITS network as ONNX) from a user's directory, beside espeak-ng in training.

The network takes phonemes, which espeak-ng gives. onnxruntime runs it, of the extra `tagger`. A voice's
directory has one `.onnx` file and its description in `.onnx.json`; MODEL_CARD states the license.
"""

import json
import shutil
import subprocess
import unicodedata
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from core.audio.resampling import resample_blocks
from core.embeddings.description import file_sha256
from core.embeddings.network import open_session
from core.errors import CheckpointMismatch
from core.training.data.families import SAMPLE_RATE, Samples

BEGIN, END, BETWEEN = "^", "$", "_"
CARD = "MODEL_CARD"
_TIMEOUT = 60


class NeuralVoice:
    """One voice. The network draws random numbers of its own: a text never sounds quite the same twice."""

    def __init__(self, directory: Path) -> None:
        networks = sorted(directory.glob("*.onnx"))
        if len(networks) != 1:
            raise CheckpointMismatch(
                f"{directory} has {len(networks)} ONNX files: name a directory with one Piper voice"
            )
        (path,) = networks
        described = json.loads(Path(f"{path}.json").read_text(encoding="utf-8"))
        self.name, self.sha256, self.license = path.stem, file_sha256(path), _license(directory / CARD)
        self._language: str = described["espeak"]["voice"]
        self._ids: Mapping[str, Sequence[int]] = described["phoneme_id_map"]
        self._rate: int = described["audio"]["sample_rate"]
        inference = described["inference"]
        self._noise, self._noise_width = float(inference["noise_scale"]), float(inference["noise_w"])
        self._session = open_session(path)

    def speak(self, text: str, *, slowness: float = 1.0) -> Samples:
        """Return (T,) float32 at 16 kHz. `slowness` is the length relative to the voice's own."""
        ids = phoneme_ids(phonemes(text, self._language), self._ids)
        fed = {
            "input": np.array([ids], np.int64),
            "input_lengths": np.array([len(ids)], np.int64),
            "scales": np.array([self._noise, slowness, self._noise_width], np.float32),
        }
        (spoken,) = self._session.run(None, fed)
        blocks = [np.asarray(spoken, np.float32).reshape(-1)]
        return np.concatenate(list(resample_blocks(blocks, self._rate, SAMPLE_RATE)))


def phonemes(text: str, language: str) -> str:
    """Return a text in the phonetic alphabet. Raises FileNotFoundError without espeak-ng."""
    program = shutil.which("espeak-ng")
    if program is None:
        raise FileNotFoundError("espeak-ng is not on the PATH: install it, a neural voice reads its phonemes")
    command = [program, "-q", "--ipa", "--stdin", "-v", language]
    done = subprocess.run(command, input=text.encode(), capture_output=True, timeout=_TIMEOUT, check=True)
    return " ".join(done.stdout.decode().split())


def phoneme_ids(spoken: str, ids: Mapping[str, Sequence[int]]) -> list[int]:
    """Return the ids of phonemes, with one that means nothing between any two; unknown signs are left out."""
    known = [sign for sign in unicodedata.normalize("NFD", spoken) if sign in ids]
    parts = [[*ids[sign], *ids[BETWEEN]] for sign in known]
    return [*ids[BEGIN], *ids[BETWEEN], *(one for part in parts for one in part), *ids[END]]


def _license(card: Path) -> str:
    """Return the license that a model card states, empty if it states none."""
    lines = card.read_text(encoding="utf-8").splitlines() if card.is_file() else []
    stated = [line.partition(":")[2].strip() for line in lines if line.lstrip("* ").startswith("License:")]
    return stated[0] if stated else ""
