"""Which labeler answers for a library: the one whose lead over the mixture has the highest lower bound.

The lead is what a labeler says right of left-out demonstrations, less what the mixture says right of them,
joined with its lead on the dev sets: two normal distributions, the second one as wide as the lead differs
between dev sets. So few answers decide little, and where nothing can be left out the dev sets decide. Of
equal bounds the simpler labeler is chosen.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from core.in_context.baselines import FloatArray
from core.in_context.calibration import Calibration, fit_calibration
from core.in_context.choosing.dev_prior import DevPrior, dev_prior
from core.in_context.choosing.folding import folds
from core.in_context.choosing.labelers import (
    FEW_SHOT,
    NEAREST_TOKENS,
    Representation,
    labeler_names,
    representations,
)
from core.in_context.choosing.left_out import LeftOutAnswers, left_out
from core.in_context.choosing.library import JOINED, LATENTS, Demonstration, Installed
from core.in_context.choosing.mixtures import MIXTURE, WITH_EMBEDDINGS, WITH_FEW_SHOT, mixtures
from core.in_context.choosing.unknown import COVERAGE, UnknownBound, fit_unknown
from core.prompts.demonstrations import label_set

MAX_PROMPTS = 10
"""Prompts that an LLM may have to read for its left-out answers; with more its prior decides."""

NORMAL_95 = 1.96


@dataclass(frozen=True)
class Candidate:
    """What is known of a labeler. Shares are from 0 to 1.

    accuracy, interval (95 %), calibration_error (of the calibrated probabilities): of its left-out answers,
    None without any. lead: its accuracy less that of the mixture, as it is to be expected; bound: the lead
    less its deviation, which decides.
    """

    name: str
    answers: int
    accuracy: float | None
    interval: tuple[float, float] | None
    calibration_error: float | None
    lead: float
    bound: float
    calibration: Calibration
    note: str = ""


@dataclass(frozen=True)
class Choice:
    """The labeler that answers for a library, with the table that it was chosen from, the best one first."""

    name: str
    reason: str
    candidates: tuple[Candidate, ...]
    unknown: UnknownBound | None

    @property
    def chosen(self) -> Candidate:
        """The row of the labeler that answers."""
        return self.candidate(self.name)

    @property
    def temperature(self) -> float:
        """The temperature of the labeler that answers."""
        return self.chosen.calibration.temperature

    def candidate(self, name: str) -> Candidate:
        """Return the row of a labeler. Raises KeyError for one that was not compared."""
        return {one.name: one for one in self.candidates}[name]

    def calibrated(self, name: str, probabilities: FloatArray) -> FloatArray:
        """Return the calibrated probabilities (queries, labels) of a labeler's answers."""
        return self.candidate(name).calibration.apply(probabilities)

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Choice":
        """Return the choice that these values are of."""
        candidates = tuple(map(_candidate, values["candidates"]))
        bound = values["unknown"]
        return cls(values["name"], values["reason"], candidates, _unknown(bound) if bound else None)


def choose(
    demonstrations: Sequence[Demonstration],
    installed: Installed,
    *,
    coverage: float = COVERAGE,
    max_prompts: int = MAX_PROMPTS,
) -> Choice:
    """Return the labeler that answers for these demonstrations.

    coverage: the share of clips of known labels that the bound of `unknown` should keep. max_prompts: the LLM
    reads a prompt for each part that is left out; it is asked only where there are no more. Raises
    PromptError for labels that are no label set.
    """
    labels = label_set(sorted({one.label for one in demonstrations}))
    prompts = len(folds(demonstrations))
    asks_llm = installed.few_shot is not None and prompts <= max_prompts
    answers = left_out(labels, demonstrations, installed, few_shot=asks_llm)
    notes = _notes(prompts, max_prompts) if installed.few_shot else {}
    shots = min(Counter(one.label for one in demonstrations).values())
    names = candidate_names(demonstrations, installed)
    table = [_assess(name, answers, dev_prior(name, installed, shots), notes.get(name, "")) for name in names]
    # of equal bounds the first is chosen, and the simpler ones come first
    ranked = tuple(sorted(table, key=lambda one: -round(one.bound, 6)))
    compared = compared_by(ranked[0].name, representations(demonstrations, installed), installed)
    unknown = _unknown_bound(compared, demonstrations, installed, coverage) if compared else None
    return Choice(ranked[0].name, _reason(ranked, prompts), ranked, unknown)


def candidate_names(demonstrations: Sequence[Demonstration], installed: Installed) -> tuple[str, ...]:
    """Return the names of all labelers and mixtures, the simplest first."""
    names = labeler_names(demonstrations, installed)
    return (*names, *mixtures(names, installed.embeddings))


def compared_by(name: str, known: Sequence[Representation], installed: Installed) -> Representation | None:
    """Return the representation by which a labeler's clips are near or far, None if there is none.

    That of a labeler on one representation is its own; mixtures with embeddings and zero-shot labelers have
    that of the embeddings; codes are compared by their latents.
    """
    own = [one for one in known if name.endswith(f" {one.name}")]
    if own:
        return own[-1]
    wanted = JOINED if len(installed.embeddings) > 1 else "".join(installed.embeddings)
    by_name = {one.name: one for one in known}
    fallback = by_name.get(LATENTS)
    return by_name.get(wanted, fallback) if name == WITH_EMBEDDINGS else fallback


def _unknown_bound(
    compared: Representation, demonstrations: Sequence[Demonstration], installed: Installed, coverage: float
) -> UnknownBound:
    # what was measured with a tagger says nothing of another embedding beside it
    by_tagger = bool(compared.embeddings) and installed.taggers.keys() >= set(compared.embeddings)
    return fit_unknown(compared, demonstrations, coverage, by_tagger=by_tagger)


def _assess(name: str, answers: LeftOutAnswers, prior: DevPrior, note: str) -> Candidate:
    own = answers.probabilities.get(name)
    if own is None:
        calibration = Calibration(prior.temperature)
        return Candidate(name, 0, None, None, None, prior.lead, prior.lead - prior.spread, calibration, note)
    right = _right(own, answers.gold)
    lead, spread = _lead(right - _right(_reference(answers), answers.gold), prior)
    calibration = fit_calibration(own, answers.gold, prior.temperature)
    accuracy = float(right.mean())
    interval = wilson_interval(accuracy, len(right))
    error = _calibration_error(calibration.apply(own), answers.gold)
    return Candidate(name, len(right), accuracy, interval, error, lead, lead - spread, calibration, note)


def _reference(answers: LeftOutAnswers) -> FloatArray:
    """Return the answers of the mixture, or of the only labeler where there is none."""
    return answers.probabilities.get(MIXTURE, answers.probabilities[NEAREST_TOKENS])


def _lead(ahead: FloatArray, prior: DevPrior) -> tuple[float, float]:
    """Return the expected lead and its deviation; ahead: 1, 0 or -1 for each left-out answer.

    A pseudo answer on each side keeps a few equal answers from looking certain.
    """
    if not prior.spread:
        return prior.lead, 0.0
    variance = (float(ahead @ ahead) + 2) / (len(ahead) + 2) / len(ahead)
    weight, dev_weight = 1 / variance, 1 / prior.spread**2
    lead = (weight * float(ahead.mean()) + dev_weight * prior.lead) / (weight + dev_weight)
    return lead, math.sqrt(1 / (weight + dev_weight))


def _right(probabilities: FloatArray, gold: Sequence[int]) -> FloatArray:
    """Return for each answer 1 if it is right; of n equally probable labels the right one counts 1 / n."""
    best = probabilities == probabilities.max(axis=1, keepdims=True)
    hits: FloatArray = (best / best.sum(axis=1, keepdims=True))[np.arange(len(gold)), list(gold)]
    return hits


def _calibration_error(probabilities: FloatArray, gold: Sequence[int]) -> float:
    """Return the distance between mean confidence and accuracy; bins need more answers than a library has."""
    return abs(float(probabilities.max(axis=1).mean() - _right(probabilities, gold).mean()))


def wilson_interval(share: float, count: int, z: float = NORMAL_95) -> tuple[float, float]:
    """Return the interval of a share of `count` answers (Wilson 1927)."""
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _notes(prompts: int, max_prompts: int) -> dict[str, str]:
    """Return what the LLM's left-out answers cost, for the labelers that need them."""
    cost = f"its left-out answers cost {prompts} prompts"
    note = cost if prompts <= max_prompts else f"{cost}, over {max_prompts}: only its prior counts"
    return dict.fromkeys((FEW_SHOT, WITH_FEW_SHOT), note)


def _reason(ranked: Sequence[Candidate], prompts: int) -> str:
    best = ranked[0]
    if best.accuracy is None or best.interval is None:
        why = best.note if prompts else "each label has one demonstration or one group"
        return f"{best.name}: {why}, so what was best on the dev sets answers"
    low, high = (100 * end for end in best.interval)
    sentence = (
        f"{best.name}: {100 * best.accuracy:.0f} % of {best.answers} left-out demonstrations right "
        f"({low:.0f} to {high:.0f} with 95 %)"
    )
    others = [one for one in ranked[1:] if one.accuracy is not None]
    return (
        f"{sentence}; next {others[0].name}, {100 * (others[0].accuracy or 0):.0f} %" if others else sentence
    )


def _candidate(values: Mapping[str, Any]) -> Candidate:
    temperature, bias = values["calibration"]["temperature"], tuple(values["calibration"]["bias"])
    interval = tuple(values["interval"]) if values["interval"] else None
    return Candidate(**{**values, "calibration": Calibration(temperature, bias), "interval": interval})


def _unknown(values: Mapping[str, Any]) -> UnknownBound:
    of = values["representation"]
    return UnknownBound(**{**values, "representation": Representation(of["name"], tuple(of["embeddings"]))})
