"""What each kind of labeler was worth on the dev sets, measured once.

The dev sets are recorded digits and read speech, and sounds that this project makes by rule. Nothing here is
fitted to the recorded sounds, animals and feelings that `benchmarks.quality` asks.

What a tagger is worth is decided, not measured: the dev sets have few sounds of the kind that one was trained
on hours of. With one installed its class mean goes before the mixtures (with several embeddings, that of all
joined), until left-out answers say otherwise.
"""

from collections.abc import Mapping
from typing import NamedTuple

from core.in_context.choosing.library import Installed

MIXTURES: Mapping[str, Mapping[str, float]] = {
    "mixture": {
        "nearest tokens": 7.0,
        "nearest latents": 3.0,
        "logistic latents": 1.25,
        "logistic log-mel": 20.0,
    },
    "mixture with few-shot": {
        "nearest tokens": 7.0,
        "nearest latents": 3.0,
        "logistic latents": 1.25,
        "logistic log-mel": 20.0,
        "few-shot": 3.65,
    },
    "mixture with embeddings": {
        "nearest tokens": 7.0,
        "nearest latents": 5.0,
        "logistic latents": 1.37,
        "logistic log-mel": 20.0,
        "class mean embedding": 2.3,
        "logistic embedding": 11.0,
    },
}
"""The temperatures of the parts, fitted together: a high one belongs to what others say better."""


class DevPrior(NamedTuple):
    """lead: accuracy less the mixture's; spread: its deviation from one dev set to another.

    temperature: what calibrated its answers with as many demonstrations of each label.
    """

    lead: float
    spread: float
    temperature: float


class _Measured(NamedTuple):
    """A DevPrior with temperatures for one demonstration of each label, and for more."""

    lead: float
    spread: float
    one_shot: float
    more_shots: float


_PRIORS: Mapping[str, _Measured] = {
    "class mean latents": _Measured(-0.010, 0.030, 1.28, 0.43),
    "class mean log-mel": _Measured(-0.15, 0.12, 5.0, 1.0),
    "logistic latents": _Measured(0.003, 0.020, 0.86, 0.72),
    "logistic log-mel": _Measured(-0.10, 0.08, 3.0, 1.2),
    "nearest latents": _Measured(-0.026, 0.04, 1.28, 0.5),
    "nearest tokens": _Measured(-0.124, 0.10, 0.9, 0.4),
    "few-shot": _Measured(-0.15, 0.10, 3.0, 3.0),
    "mixture": _Measured(0.0, 0.0, 1.0, 1.0),
    "mixture with few-shot": _Measured(0.0, 0.02, 1.0, 1.0),
    "mixture with embeddings": _Measured(0.007, 0.07, 1.2, 1.0),
    "class mean embedding": _Measured(-0.08, 0.15, 1.0, 0.8),
    "logistic embedding": _Measured(-0.08, 0.15, 1.0, 1.0),
    "class mean tagger": _Measured(0.25, 0.20, 1.0, 0.8),
    "logistic tagger": _Measured(0.25, 0.20, 1.0, 1.0),
    "class mean joined": _Measured(0.26, 0.20, 1.0, 0.8),
    "logistic joined": _Measured(0.26, 0.20, 1.0, 1.0),
    "zero-shot tagger": _Measured(-0.37, 0.30, 1.0, 1.0),
}

UNKNOWN_SHARES: Mapping[int, Mapping[float, float]] = {
    1: {0.5: 0.4, 0.8: 0.7, 0.9: 0.88, 0.95: 1.0, 0.99: 1.2},
    3: {0.5: 0.25, 0.8: 0.4, 0.9: 0.5, 0.95: 0.6, 0.99: 0.8},
}
"""By demonstrations of a label, at least, and by coverage: bounds of `unknown` as shares."""


def dev_prior(name: str, installed: Installed, shots: int) -> DevPrior:
    """Return what a labeler was worth on the dev sets; shots: the fewest demonstrations of a label."""
    measured = _PRIORS[role(name, installed)]
    temperature = measured.one_shot if shots == 1 else measured.more_shots
    return DevPrior(measured.lead, measured.spread, temperature)


def role(name: str, installed: Installed) -> str:
    """Return a labeler's name with `tagger` or `embedding` for an installed one."""
    for embedding in installed.embeddings:
        if name.endswith(f" {embedding}"):
            kind = "tagger" if embedding in installed.taggers else "embedding"
            return f"{name.removesuffix(embedding)}{kind}"
    return name
