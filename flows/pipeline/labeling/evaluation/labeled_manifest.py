"""Clips of known labels for an evaluation, each read once into memory. Nothing is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected
from core.prompts.demonstrations import label_set
from flows.pipeline.libraries.manifest import LabeledClipRow, read_manifest, resolve, warn_of_labels_alike
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runs.batches import batches_of
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from core.evaluation.episodes import LabeledClips
    from core.in_context.features import ClipFeatures

MAX_SECONDS = 600.0
"""The longest clip, since a whole clip is in memory while it is encoded."""


class LabeledRow(LabeledClipRow):
    """A clip of known label. Clips of a group were recorded together; without one a clip is its own group."""

    group: str | None = None


@dataclass(frozen=True)
class LeftOut:
    """A row that is in no episode, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class ReadClip:
    """The content of a row's object."""

    row: LabeledRow
    sha256: bytes
    seconds: float
    described: ClipFeatures


def _by_uri(manifest: str, rows: Mapping[int, LabeledRow]) -> dict[str, LabeledRow]:
    """Return each clip's row; a row that is there twice counts once."""
    lines: dict[str, int] = {}
    for line, row in rows.items():
        first = lines.setdefault(resolve(manifest, row.path), line)
        if (rows[first].label, rows[first].group) != (row.label, row.group):
            raise ManifestError(
                f"line {line} names a clip again, {row.path}, but otherwise than line {first}"
            )
    return {uri: rows[line] for uri, line in lines.items()}


class LabeledManifest:
    """The clips of a manifest, read batch by batch. Raises ManifestError and PromptError as a library does.

    first_second: clips are cut or padded to one second before they are encoded, as the paper does.
    """

    def __init__(self, runtime: Runtime, manifest: str, *, first_second: bool) -> None:
        self._runtime, self._first_second = runtime, first_second
        rows = read_manifest(runtime, manifest, LabeledRow)
        self._rows = _by_uri(canonical(manifest), rows)
        warn_of_labels_alike(label_set(sorted({row.label for row in rows.values()})))
        self._read: dict[str, ReadClip] = {}
        self._rejected: dict[str, str] = {}

    def batches(self) -> list[Sequence[str]]:
        """Return the clips' uris in batches."""
        return batches_of(list(self._rows), self._runtime.settings.batch_size)

    def read_batch(self, uris: Sequence[str]) -> Counts:
        """Read, decode and encode a batch of clips; safe to repeat."""
        settings = self._runtime.settings
        longest = min(MAX_SECONDS, settings.max_duration)
        with ClipDecoder(replace(settings.audio_limits, max_duration=longest)) as decoder:
            for uri in uris:
                try:
                    self._read[uri] = self._read_clip(uri, decoder)
                except AudioRejected as rejected:
                    self._rejected[uri] = str(rejected)
        read = sum(uri in self._read for uri in uris)
        return Counts(read=read, left_out=len(uris) - read)

    @cached_property
    def read(self) -> dict[str, ReadClip]:
        """The usable clips by uri, in the manifest's order; of equal bytes only the first.

        Raises ManifestError for equal bytes under two labels.
        """
        first: dict[bytes, str] = {}
        for uri in filter(self._read.__contains__, self._rows):
            before = first.setdefault(self._read[uri].sha256, uri)
            if self._rows[before].label != self._rows[uri].label:
                labels = f"{self._rows[before].label!r} and {self._rows[uri].label!r}"
                raise ManifestError(f"{before} and {uri} are one recording with two labels, {labels}")
        return {uri: self._read[uri] for uri in first.values()}

    @property
    def left_out(self) -> list[LeftOut]:
        """The rows that are not used, with reasons."""
        reasons = dict.fromkeys(self._rows, "same_bytes: another row has them") | self._rejected
        return [LeftOut(uri, reasons[uri]) for uri in self._rows if uri not in self.read]

    def clips(self) -> LabeledClips:
        """Return the clips from which episodes are drawn, once every batch is read."""
        import numpy as np

        from core.evaluation.episodes import LabeledClips

        clips = list(self.read.values())
        names = clips[0].described.vectors if clips else ()
        return LabeledClips(
            tuple(clip.described.codes for clip in clips),
            tuple(clip.row.label for clip in clips),
            tuple(clip.row.group or uri for uri, clip in self.read.items()),
            {name: np.stack([clip.described.vectors[name] for clip in clips]) for name in names},
        )

    def _read_clip(self, uri: str, decoder: ClipDecoder) -> ReadClip:
        import torch

        from core.audio.resampling import paper_second, resample_blocks
        from core.evaluation.features import extract_features

        runtime, storage = self._runtime, self._runtime.storage(uri)
        if (listed := storage.find(uri)) is None:
            raise AudioRejected("gone", f"{uri!r} does not exist")
        rate = runtime.codec.config.sample_rate
        with storage.read(listed.uri, listed.version_token, listed.size) as fetched:
            stream = decoder.open(fetched.path)
            pieces = map(torch.from_numpy, resample_blocks(stream, stream.sample_rate, rate))
            waveform = torch.cat(list(pieces))[None, None]
        seconds = waveform.shape[-1] / rate
        if self._first_second:
            waveform = paper_second(waveform, rate)
        with runtime.device_lock():
            described = extract_features(runtime.codec, waveform)
        return ReadClip(self._rows[uri], fetched.sha256, seconds, described)
