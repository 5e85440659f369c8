"""Labeled clips as a Hugging Face dataset: Parquet files with the audio's bytes and a ClassLabel.

The files say in their metadata what `datasets` needs to know, so that it is not needed to write them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from core.errors import AudioRejected
from db.engine import session_scope
from db.lake import LakeClip, labeled_clips
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

CLIPS_PER_FILE, CLIPS_PER_GROUP = 1_000, 100
AUDIO = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
COLUMNS: dict[str, pa.DataType] = {
    "audio": AUDIO, "label": pa.int64(), "uri": pa.string(), "probability": pa.float64(),
    "margin": pa.float64(), "status": pa.string(), "is_demonstration": pa.bool_(), "version": pa.int32(),
    "labeler": pa.string(), "day": pa.date32(), "duration": pa.float64(), "content_sha256": pa.string(),
}  # fmt: skip
CARD = """---
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
---

# Clips of {place} labeled by {library}

{clips} clips, written by wordwave. `label` is the current answer; `status` says whether it is `labeled`,
`uncertain` or `unknown`, and `is_demonstration` whether the library shows the clip itself.
"""


@dataclass(frozen=True)
class Dataset:
    """A dataset that was written, and the clips that are not in it: their bytes are no longer there."""

    clips: int
    left_out: Sequence[str]


def write_dataset(runtime: Runtime, place: str, library: str, folder: Path) -> Dataset:
    """Write the labeled clips of a place by a library to a new folder.

    Raises ValueError if the folder has files, or if there are no labeled clips.
    """
    place = canonical(place)
    if folder.exists() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty: name a new folder for the dataset")
    with session_scope(runtime.engine) as session:
        clips = list(labeled_clips(session, place, library))
    if not clips:
        raise ValueError(f"{place} has no clip with an answer by {library}: label it first")
    folder.mkdir(parents=True, exist_ok=True)
    # the files move into place when all are written; within the folder, which may be a mount of its own
    with TemporaryDirectory(prefix=".writing-", dir=folder) as unfinished:
        dataset = _write_files(runtime, place, library, clips, Path(unfinished))
        for name in ("README.md", "data"):
            (Path(unfinished) / name).rename(folder / name)
    return dataset


def _write_files(
    runtime: Runtime, place: str, library: str, clips: Sequence[LakeClip], folder: Path
) -> Dataset:
    (folder / "data").mkdir()
    left_out: list[str] = []
    schema = _schema(sorted({clip.label for clip in clips}))
    parts = batches_of(clips, CLIPS_PER_FILE)
    for number, part in enumerate(parts):
        file = folder / "data" / f"train-{number:05}-of-{len(parts):05}.parquet"
        _write_file(runtime, place, part, file, schema, left_out)
    written = len(clips) - len(left_out)
    (folder / "README.md").write_text(CARD.format(place=place, library=library, clips=written))
    return Dataset(written, left_out)


def _schema(labels: Sequence[str]) -> pa.Schema:
    """Return the columns, with those of `datasets` in the metadata: the number of a label is its place."""
    features: dict[str, dict[str, Any]] = {
        name: {"dtype": _dtype(kind), "_type": "Value"} for name, kind in COLUMNS.items()
    }
    features["audio"] = {"_type": "Audio"}
    features["label"] = {"names": list(labels), "_type": "ClassLabel"}
    return pa.schema(list(COLUMNS.items()), {"huggingface": json.dumps({"info": {"features": features}})})


def _dtype(kind: pa.DataType) -> str:
    return {"double": "float64", "date32[day]": "date32"}.get(str(kind), str(kind))


def _write_file(
    runtime: Runtime,
    place: str,
    clips: Sequence[LakeClip],
    file: Path,
    schema: pa.Schema,
    left_out: list[str],
) -> None:
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    number = {label: ordinal for ordinal, label in enumerate(features["label"]["names"])}
    rows = _rows(runtime, place, clips, number, left_out)
    with pq.ParquetWriter(file, schema, compression="zstd") as table:
        while group := list(islice(rows, CLIPS_PER_GROUP)):
            table.write_table(pa.Table.from_pylist(group, schema=schema))


def _rows(
    runtime: Runtime, place: str, clips: Sequence[LakeClip], number: dict[str, int], left_out: list[str]
) -> Iterator[dict[str, Any]]:
    storage = runtime.readable(place)
    for clip in clips:
        try:
            with storage.read(clip.uri, clip.version_token, clip.size) as fetched:
                data = fetched.path.read_bytes()
        except AudioRejected:
            left_out.append(clip.uri)
            continue
        yield {name: getattr(clip, name, None) for name in COLUMNS} | {
            "audio": {"bytes": data, "path": clip.uri.rpartition("/")[2]},
            "label": number[clip.label],
            "content_sha256": clip.content_sha256.hex(),
        }
