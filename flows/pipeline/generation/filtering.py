"""Denoising of clips by a denoiser: each clip's own audio passes through it, at its own rate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import numpy as np

from core.decoding.audio_stream import Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected
from db.generated import NewAudio, move_audio, save_audio
from flows.pipeline.generation.clip_audio import fetch_content
from flows.pipeline.generation.denoise import OfClips
from flows.pipeline.generation.generate import QUIETEST_DB, ClipQuestion
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.halving import ModelStep
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.fingerprints import work_key
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.runtime.telemetry import add_audio, timed
from flows.pipeline.storage.hashed_copy import sha256_of

if TYPE_CHECKING:
    from core.audio.denoiser import Denoiser
    from db.runs import RunClaim

STAGE = "filter"
MAX_FILE_BYTES = 2**31
"""The largest answer: sizes in a wav file's header have 32 bits."""
PROBE_SECONDS = 0.25


@dataclass
class Level:
    """Peak (1.0 is full scale), RMS and length of samples that pass."""

    peak: float = 0.0
    squares: float = 0.0
    samples: int = 0

    def follow(self, blocks: Iterable[Samples]) -> Iterator[Samples]:
        """Pass blocks through unchanged. Raises ArithmeticError for samples that no file can hold."""
        for block in blocks:
            if not np.isfinite(block).all():
                raise ArithmeticError("the answer has samples that are not finite")
            self.peak = max(self.peak, float(np.abs(block).max(initial=0.0)))
            self.squares += float(np.square(block, dtype=np.float64).sum())
            self.samples += len(block)
            yield block

    @property
    def decibels(self) -> float:
        """The RMS level in dB."""
        power = self.squares / max(1, self.samples)
        return max(QUIETEST_DB, 10 * math.log10(power)) if power else QUIETEST_DB


@dataclass(frozen=True)
class Filtered:
    """An answer as a file: `sha256` is of its bytes, the rate that of the clip."""

    path: Path
    sha256: bytes
    sample_rate: int
    answer: Level = field(default_factory=Level)
    noisy: Level = field(default_factory=Level)

    @property
    def metrics(self) -> dict[str, float]:
        """Peak and level of the answer, and the level of the noisy clip, in dB."""
        levels = {"level_db": self.answer.decibels, "noisy_level_db": self.noisy.decibels}
        return {"peak": self.answer.peak} | levels


class Filtering(OfClips):
    """Clips as a denoiser answers them. No LLM is needed."""

    stage = STAGE

    def __init__(self, runtime: Runtime, request: AudioRequest, denoiser: Denoiser) -> None:
        super().__init__(runtime, request)
        self.denoiser, self.method = denoiser, denoiser.name

    def prepare(self, run: RunClaim) -> None:
        """Hash what runs, so that damaged files fail the run and no clip."""
        _ = self.denoiser.fingerprint

    def work_key(self, question: ClipQuestion) -> bytes:
        parts = [
            question.key,
            self.library_name,
            self.task,
            self.method,
            self.denoiser.fingerprint,
            self.request.format,
        ]
        return work_key(*parts)

    def answer_batch(self, batch: Sequence[ClipQuestion], run: RunClaim) -> Counts:
        with TemporaryDirectory() as folder:
            outcomes = dict(zip(batch, self.outcomes(batch, Path(folder)), strict=True))
            rejected = {one: why for one, why in outcomes.items() if isinstance(why, AudioRejected)}
            answered = {one: made for one, made in outcomes.items() if isinstance(made, Filtered)}
            with timed("write"):
                rows = [self._stored(one, made) for one, made in answered.items()]
                with run_session(self.runtime, run) as session:
                    counts = Counts(generated=save_audio(session, run.writes_as, rows))
                    counts += self.set_aside(session, run.writes_as, rejected)
        add_audio(sum(row.duration for row in rows))
        return counts

    def restore_batch(self, batch: Sequence[ClipQuestion], run: RunClaim) -> Counts:
        """Answer clips again whose objects are lost; one that cannot be read any more stays lost."""
        moved = {}
        with TemporaryDirectory() as folder:
            for one, made in zip(batch, self.outcomes(batch, Path(folder)), strict=True):
                if isinstance(made, Filtered):
                    moved[self.work_key(one)] = (self._write(one, made), made.sha256)
            with run_session(self.runtime, run) as session:
                move_audio(session, moved)
        return Counts(restored=len(moved))

    def outcomes(self, batch: Sequence[ClipQuestion], folder: Path) -> list[Filtered | AudioRejected]:
        """Write the answers of a batch to a folder. A clip that fails the denoiser alone is rejected."""
        with ClipDecoder(self.runtime.settings.audio_limits) as decoder, timed("generate"):
            step: ModelStep[ClipQuestion, Filtered | AudioRejected] = ModelStep(
                STAGE,
                lambda some: [self._outcome(one, decoder, folder) for one in some],
                self.runtime.batch_limits,
                self._probe,
            )
            return step.run(batch)

    def _outcome(
        self, question: ClipQuestion, decoder: ClipDecoder, folder: Path
    ) -> Filtered | AudioRejected:
        try:
            return self._filtered(question, decoder, folder)
        except AudioRejected as rejected:
            return rejected

    def _filtered(self, question: ClipQuestion, decoder: ClipDecoder, folder: Path) -> Filtered:
        """Decode, denoise and write one clip piece by piece."""
        from core.audio.denoiser import denoise_at
        from core.audio.resampling import write_blocks

        noisy, answer, path = Level(), Level(), folder / f"{question.key}.{self.request.format}"
        with ExitStack() as files:
            stream = decoder.open(fetch_content(self.runtime, question.content_sha256, files).path)
            rate = stream.sample_rate
            denoised = denoise_at(self.denoiser, _within_a_file(noisy.follow(stream)), rate)
            write_blocks(path, answer.follow(denoised), rate, self.request.format.upper())
        return Filtered(path, sha256_of(path), rate, answer, noisy)

    def _probe(self) -> None:
        """Denoise a little noise, which every denoiser can."""
        rate = self.denoiser.sample_rate or self.runtime.codec.config.sample_rate
        noise = np.random.default_rng(0).standard_normal(round(PROBE_SECONDS * rate))
        for _block in self.denoiser.denoise([(0.01 * noise).astype(np.float32)]):
            pass

    def _stored(self, question: ClipQuestion, made: Filtered) -> NewAudio:
        """Write the object of an answer and return its row."""
        return NewAudio(
            work_key=self.work_key(question),
            task=self.task,
            text=None,
            content_sha256=question.content_sha256,
            demonstration_set_id=self.library.id,
            codec_id=self.runtime.codec_id,
            llm_id=None,
            semantic=None,
            acoustic1=None,
            acoustic2=None,
            duration=made.answer.samples / made.sample_rate,
            uri=self._write(question, made),
            sha256=made.sha256,
            metrics=made.metrics,
            is_demonstration=self.demonstrates(question),
            provenance={"sample_rate": made.sample_rate, "license": self.denoiser.license},
            seed=0,
            method=self.method,
            denoiser_fingerprint=self.denoiser.fingerprint,
        )

    def _write(self, question: ClipQuestion, made: Filtered) -> str:
        storage = self.runtime.storage(self.runtime.settings.storage_uri)
        key = self.object_key(self.work_key(question), made.sha256.hex())
        return storage.write(key, made.path).uri


def _within_a_file(blocks: Iterable[Samples]) -> Iterator[Samples]:
    """Pass blocks through, and raise AudioRejected(too_long) for more than a wav file can hold."""
    samples = 0
    for block in blocks:
        samples += len(block)
        if 2 * samples > MAX_FILE_BYTES - 2**10:
            raise AudioRejected(
                "too_long", f"an answer of {2 * samples} bytes, at most {MAX_FILE_BYTES} fit in a wav file"
            )
        yield block
