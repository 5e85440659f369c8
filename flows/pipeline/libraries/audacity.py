"""Clips cut out of a recording by the labels of Audacity, with the manifest of a library."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from core.decoding.audio_stream import Samples
from core.decoding.child_process.decoder import ClipDecoder
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.rows import ManifestError

MANIFEST = "library.jsonl"
COLUMNS = 3


@dataclass(frozen=True)
class Region:
    """A labeled part of a recording, in seconds."""

    line: int
    begins: float
    ends: float
    label: str


def read_regions(text: str) -> list[Region]:
    """Return the regions of an exported label track: begin, end and label, split by tabs.

    Lines with the frequencies of a region, which begin with a backslash, are left out. Raises ManifestError
    with the first wrong line.
    """
    regions = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip() and not line.startswith("\\"):
            regions.append(_region(number, line))
    if not regions:
        raise ManifestError("the label track has no labels: export them with File, Export, Export Labels")
    return regions


def cut(settings: Settings, recording: Path, regions: Sequence[Region], folder: Path) -> Path:
    """Write each region as a FLAC file into a folder, and return the manifest beside them.

    Raises AudioRejected for a recording that cannot be read, and ManifestError for a region beyond its end.
    """
    decoder = ClipDecoder(settings.audio_limits)
    try:
        stream = decoder.open(recording)
        rate, samples = stream.sample_rate, np.concatenate([*stream])
    finally:
        decoder.close()
    folder.mkdir(parents=True, exist_ok=True)
    rows = list(_written(samples, rate, regions, folder, recording.stem))
    manifest = folder / MANIFEST
    manifest.write_text("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
    return manifest


def _written(
    samples: Samples, rate: int, regions: Sequence[Region], folder: Path, stem: str
) -> Iterator[dict[str, str]]:
    for region in regions:
        begin, end = round(region.begins * rate), round(region.ends * rate)
        if end > len(samples):
            raise ManifestError(
                f"line {region.line} ends at {region.ends:.2f} s, the recording lasts "
                f"{len(samples) / rate:.2f} s: use the labels of this recording"
            )
        name = f"{stem}-{region.line:04}.flac"
        soundfile.write(folder / name, samples[begin:end], rate, subtype="PCM_16")
        yield {"path": name, "label": region.label}


def _region(number: int, line: str) -> Region:
    columns = line.split("\t")
    try:
        begins, ends = (float(text.replace(",", ".")) for text in columns[:2])
        label = "\t".join(columns[COLUMNS - 1 :]).strip()
    except ValueError:
        raise ManifestError(f"line {number} is not begin, end and label, split by tabs") from None
    if not 0 <= begins < ends < float("inf") or not label:
        raise ManifestError(f"line {number} is no region with a label: it needs a length and a name")
    return Region(number, begins, ends, label)
