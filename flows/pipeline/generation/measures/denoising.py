"""How near each method comes to the clean clips of a library's pairs, measured once per library version.

The denoiser never saw the pairs. In context, a pair is left out of the prompt that answers it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from core.decoding.audio_stream import Samples
from core.decoding.child_process.decoder import ClipDecoder
from core.errors import AudioRejected, PromptError
from db.denoising_measures import PairMeasure, get_measures, save_measures
from db.engine import session_scope
from db.libraries import LibraryDemonstration, LibraryVersion, get_library
from db.library_names import split_library_name
from flows.pipeline.generation.clip_audio import beginning, fetch_content
from flows.pipeline.generation.denoise import Denoising
from flows.pipeline.generation.methods import NOISY, MethodChoice, choose
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import run_session
from flows.pipeline.runtime.resources import Runtime

if TYPE_CHECKING:
    from db.runs import RunClaim

MAX_PAIRS = 16
"""Pairs that are measured, the first of the library."""
MAX_SECONDS = 8.0
"""The part of a longer pair that is measured."""
MEASURE_RATE = 16_000
"""The rate in Hz at which all methods are compared; STOI itself hears up to 5 kHz."""
MAX_SI_SDR_DB = 100.0
"""An exact copy has infinitely many decibels."""


@dataclass(frozen=True, eq=False)
class Pair:
    """The beginning of a noisy clip at its own rate, and of the clean one at MEASURE_RATE, (T,) each."""

    row: LibraryDemonstration
    noisy: Samples
    sample_rate: int
    clean: Samples


@dataclass(frozen=True)
class MethodToMeasure:
    """A method by its name and fingerprint. `answer` returns samples at MEASURE_RATE, None for none."""

    name: str
    fingerprint: str
    answer: Callable[[Pair], Samples | None]


def measure_pairs(runtime: Runtime, request: AudioRequest, run: RunClaim) -> Counts:
    """Measure what is not recorded yet of the noisy clips and each method, pair by pair; safe to repeat."""
    library, candidates = _library(runtime, request), _candidates(runtime, request, run)
    known = {(one.content_sha256, one.method, one.fingerprint) for one in _stored(runtime, library)}
    rows = {row.content_sha256: row for row in library.demonstrations}
    counts = Counts(measured=0)
    with ClipDecoder(runtime.settings.audio_limits) as decoder:
        for row in islice(rows.values(), MAX_PAIRS):
            left = [one for one in candidates if (row.content_sha256, one.name, one.fingerprint) not in known]
            if left and (pair := _read_pair(runtime, decoder, row)):
                measures = [found for one in left if (found := _measured(one, pair))]
                with run_session(runtime, run) as session:
                    counts["measured"] += save_measures(session, run.writes_as, library.id, measures)
    return counts


def choose_method(runtime: Runtime, request: AudioRequest) -> MethodChoice:
    """Return the best method on the library's pairs, by what is recorded."""
    library = _library(runtime, request)
    now = dict(_fingerprints(runtime, request))
    measures = [one for one in _stored(runtime, library) if now.get(one.method) == one.fingerprint]
    return choose(f"{library.name}@{library.version}", measures)


def _library(runtime: Runtime, request: AudioRequest) -> LibraryVersion:
    with session_scope(runtime.engine) as session:
        library = get_library(session, *split_library_name(request.library))
    if library.task != "denoise":
        name = f"{library.name}@{library.version}"
        raise PromptError(f"library {name} is for {library.task}, not for denoise")
    return library


def _stored(runtime: Runtime, library: LibraryVersion) -> list[PairMeasure]:
    with session_scope(runtime.engine) as session:
        return get_measures(session, library.id)


def _fingerprints(runtime: Runtime, request: AudioRequest) -> Iterator[tuple[str, str]]:
    """Yield the name and fingerprint of each method, without loading a model."""
    yield NOISY, NOISY
    if runtime.denoiser is not None:
        yield runtime.denoiser.name, runtime.denoiser.fingerprint
    if (llm := runtime.audio_llm) is not None and len(_library(runtime, request).demonstrations) > 1:
        deciding = {
            name: value for name, value in asdict(request).items() if name not in ("library", "format")
        }
        parts = [runtime.codec_fingerprint, llm.fingerprint, deciding]
        yield Denoising.method, hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def _candidates(runtime: Runtime, request: AudioRequest, run: RunClaim) -> list[MethodToMeasure]:
    in_context = _InContext(runtime, request, run)
    answers: dict[str, Callable[[Pair], Samples | None]] = {
        NOISY: lambda pair: _at_measure_rate(pair.noisy, pair.sample_rate),
        Denoising.method: in_context.answer,
    }
    if (denoiser := runtime.denoiser) is not None:
        from core.audio.denoiser import denoise_at

        def filtered(pair: Pair) -> Samples:
            blocks = denoise_at(denoiser, [pair.noisy], pair.sample_rate)
            return _at_measure_rate(np.concatenate(list(blocks)), pair.sample_rate)

        answers[denoiser.name] = filtered
    return [MethodToMeasure(name, found, answers[name]) for name, found in _fingerprints(runtime, request)]


class _InContext:
    """The answer in context to a pair that is not in the prompt. The LLM is loaded for the first pair."""

    def __init__(self, runtime: Runtime, request: AudioRequest, run: RunClaim) -> None:
        self._runtime, self._request, self._run = runtime, request, run
        self._denoising: Denoising | None = None

    def answer(self, pair: Pair) -> Samples | None:
        """Return None where the LLM cannot answer, as with a library of one pair."""
        try:
            denoising = self._prepared()
            with self._runtime.device_lock():
                waveform = denoising.answer_without(pair.row, MAX_SECONDS)
        except PromptError:
            return None
        return _at_measure_rate(waveform.numpy(), self._runtime.codec.config.sample_rate)

    def _prepared(self) -> Denoising:
        if self._denoising is None:
            denoising = Denoising(self._runtime, self._request)
            denoising.prepare(self._run)
            self._denoising = denoising
        return self._denoising


def _read_pair(runtime: Runtime, decoder: ClipDecoder, row: LibraryDemonstration) -> Pair | None:
    """Return the beginning of both clips, None where one cannot be read any more."""
    assert row.target_content_sha256
    try:
        noisy, rate = _beginning(runtime, decoder, row.content_sha256)
        clean, clean_rate = _beginning(runtime, decoder, row.target_content_sha256)
    except AudioRejected:
        return None
    return Pair(row, noisy, rate, _at_measure_rate(clean, clean_rate))


def _beginning(runtime: Runtime, decoder: ClipDecoder, content: bytes) -> tuple[Samples, int]:
    with ExitStack() as files:
        stream = decoder.open(fetch_content(runtime, content, files).path)
        samples = beginning(stream, round(MAX_SECONDS * stream.sample_rate))
    return samples, stream.sample_rate


def _measured(candidate: MethodToMeasure, pair: Pair) -> PairMeasure | None:
    """Return the measures of a method's answer; None without an answer, or with a silent clean clip."""
    import torch

    from core.evaluation.metrics import si_sdr, stoi

    if (answer := candidate.answer(pair)) is None or not pair.clean.any():
        return None
    length = min(len(answer), len(pair.clean))
    clean, own = (torch.from_numpy(one[:length]) for one in (pair.clean, answer))
    distortion = min(max(si_sdr(clean, own), -MAX_SI_SDR_DB), MAX_SI_SDR_DB)
    return PairMeasure(
        pair.row.content_sha256,
        candidate.name,
        candidate.fingerprint,
        stoi(clean, own, MEASURE_RATE),
        distortion,
    )


def _at_measure_rate(samples: Samples, sample_rate: int) -> Samples:
    from core.audio.resampling import resample_blocks

    return np.concatenate(list(resample_blocks([samples], sample_rate, MEASURE_RATE)))
