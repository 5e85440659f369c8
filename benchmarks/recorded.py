"""Recorded clips that no shipped model is selected by, as the folder in WORDWAVE_TEST_DATA holds them."""

import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from core.audio.resampling import read_waveform
from core.codec.files.opening import AnyCodec
from core.embeddings.embedder import Embedder
from core.embeddings.log_mel_model import LOG_MEL
from core.errors import AudioRejected
from core.evaluation.episodes import LabeledClips
from core.evaluation.features import extract_features

LABELS = {"sound_events": "event", "animals": "event", "emotion": "emotion", "digits": "text"}
"""Recorded set to the label that is asked."""

UNKNOWN_GROUPS = {"animals"}
"""Sets of which nobody knows which clips were recorded together: only the query itself is never shown."""

DataRow = Mapping[str, Any]


def data_root() -> Path:
    """Return the folder of recorded sets, or end the program if none is named."""
    if not (folder := os.environ.get("WORDWAVE_TEST_DATA")):
        sys.exit("WORDWAVE_TEST_DATA is not set: it must name the folder of recorded sets")
    return Path(folder)


def manifest(root: Path, name: str) -> list[DataRow]:
    """Return the rows of a set."""
    lines = (root / name / "dev" / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def waveforms(root: Path, rows: Sequence[DataRow], sample_rate: int) -> list[tuple[DataRow, Tensor]]:
    """Rows with their waveforms, (1, 1, T); what the service rejects is left out."""
    read = []
    for row in rows:
        try:
            read.append((row, read_waveform(root / row["path"], sample_rate)[0]))
        except AudioRejected:
            continue
    return read


def labeled_clips(
    root: Path,
    name: str,
    codec: AnyCodec,
    keep: Callable[[DataRow], bool] = lambda _: True,
    embedders: Sequence[Embedder] = (),
) -> LabeledClips:
    """Return a set as episodes are drawn from it, or the rows of it that are kept."""
    rows = [row for row in manifest(root, name) if keep(row)]
    read = waveforms(root, rows, codec.config.sample_rate)
    group = "path" if name in UNKNOWN_GROUPS else "group"
    labels = tuple(str(row["labels"][LABELS[name]]) for row, _ in read)
    groups = tuple(row[group] for row, _ in read)
    return describe([waveform for _, waveform in read], labels, groups, codec, embedders)


def describe(
    read: Sequence[Tensor],
    labels: tuple[str, ...],
    groups: tuple[str, ...],
    codec: AnyCodec,
    embedders: Sequence[Embedder],
) -> LabeledClips:
    """Return waveforms (1, 1, T) with all that labelers compare of them."""
    described = [extract_features(codec, waveform) for waveform in read]
    codes = tuple(one.codes for one in described)
    log_mel = {LOG_MEL: np.stack([one.vectors[LOG_MEL] for one in described])}
    embeddings, scores, classes = {}, {}, {}
    for embedder in embedders:
        name = embedder.description.name
        embedded = embedder.embed(waveform[0, 0].numpy() for waveform in read)
        embeddings[name] = np.stack([one.embedding for one in embedded]).astype(np.float64)
        if known := embedder.description.classes:
            classes[name] = known
            scored = [one.scores for one in embedded if one.scores is not None]
            scores[name] = np.stack(scored).astype(np.float64)
    return LabeledClips(codes, labels, groups, log_mel, embeddings, scores, classes)


def verdict(reached: bool) -> str:
    """Return how a bar is printed."""
    return "reached" if reached else "NOT REACHED"
