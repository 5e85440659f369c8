"""The demonstration's own audio: a library of labeled clips, clips to label, and their true labels.

Nothing is downloaded. The sounds are made by rule for a seed; the speech is espeak-ng's, recorded once
(`flows.cli.demo.record_speech`) and kept beside this file.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

from core.training.data.families import SAMPLE_RATE, Samples
from core.training.data.named_sounds import NAMED_SOUNDS
from core.training.data.sounds import add_noise

SOUNDS = ("bell", "dog bark", "knock", "rain", "siren")
SPEECH = "speech"
LIBRARY_TAKES = 3
"""Clips of each label in the library."""
QUERY_TAKES = 9
"""Clips to label of each label."""
RECORDINGS = Path(__file__).with_name("speech")


@dataclass(frozen=True)
class DemoClips:
    """The library's manifest, the folder of clips to label, and their true labels."""

    library: Path
    clips: Path
    truth: Path


def write_demo_clips(folder: Path, seed: int) -> DemoClips:
    """Write all clips as 16 kHz FLAC under `folder`, the same bytes for the same seed.

    The names of the clips to label do not give away their labels. An extra file, `cut-short.flac`, ends in
    the middle of its samples and has no true label.
    """
    written = DemoClips(folder / "library.jsonl", folder / "clips", folder / "truth.jsonl")
    rng = np.random.default_rng(seed)
    takes = {label: list(_takes(label, rng)) for label in (*SOUNDS, SPEECH)}
    library = [(label, take) for label in takes for take in takes[label][:LIBRARY_TAKES]]
    queries = [(label, take) for label in takes for take in takes[label][LIBRARY_TAKES:]]
    queries = [queries[place] for place in rng.permutation(len(queries))]
    _write_manifest(written.library, "library", library)
    _write_manifest(written.truth, "clips", queries)
    _write_cut_short(written.clips / "cut-short.flac", source=written.clips / "001.flac")
    return written


def _takes(label: str, rng: Generator) -> Iterator[Samples]:
    """Yield every take of a label, those for the library first."""
    for number in range(LIBRARY_TAKES + QUERY_TAKES):
        if label == SPEECH:
            yield _spoken(RECORDINGS / f"{number + 1:02}.flac", rng)
        else:
            yield NAMED_SOUNDS[label].render(int(rng.integers(2**31)), float(rng.uniform(1.0, 3.0)))


def _spoken(recording: Path, rng: Generator) -> Samples:
    """Return a recording with its own noise and loudness."""
    clean, _ = soundfile.read(recording, dtype="float32")
    noise = rng.standard_normal(len(clean), dtype=np.float32)
    noisy = add_noise(clean, noise, rng.uniform(20, 50))
    return noisy * np.float32(10 ** (rng.uniform(-20, -1) / 20) / np.abs(noisy).max())


def _write_manifest(path: Path, folder: str, clips: Iterable[tuple[str, Samples]]) -> None:
    """Write each clip under `folder`, and its row {"path", "label"} with a path relative to the manifest."""
    (path.parent / folder).mkdir(parents=True, exist_ok=True)
    rows: list[Mapping[str, str]] = []
    for number, (label, samples) in enumerate(clips, start=1):
        name = f"{folder}/{number:03}.flac"
        soundfile.write(path.parent / name, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
        rows.append({"path": name, "label": label})
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def _write_cut_short(path: Path, *, source: Path) -> None:
    encoded = source.read_bytes()
    path.write_bytes(encoded[: len(encoded) // 2])
