"""What each kind of labeler was worth on the dev sets, as `python -m benchmarks.dev_prior 100` measures it.

The dev sets are recorded digits and read speech, and sounds that this project makes by rule. Nothing here is
fitted to the recorded sounds, animals and feelings that `benchmarks.quality` asks.

What a tagger is worth is decided, not measured: the dev sets have few sounds of the kind that one was trained
on hours of. With one installed its class mean goes before the mixtures (with several embeddings, that of all
joined), until left-out answers say otherwise.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from core.in_context.choosing.library import Installed

MIXTURES: Mapping[str, Mapping[str, float]] = {
    "mixture": {
        "nearest tokens": 4.8,
        "nearest latents": 3.4,
        "logistic latents": 1.24,
        "logistic log-mel": 11.41,
    },
    "mixture with few-shot": {
        "nearest tokens": 14.96,
        "nearest latents": 5.38,
        "logistic latents": 1.3,
        "logistic log-mel": 10.16,
        "few-shot": 3.73,
    },
    "mixture with embeddings": {
        "nearest tokens": 4.44,
        "nearest latents": 6.35,
        "logistic latents": 1.36,
        "logistic log-mel": 12.29,
        "class mean embedding": 2.39,
        "logistic embedding": 14.79,
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
    "class mean latents": _Measured(-0.009, 0.010, 0.99, 0.52),
    "class mean log-mel": _Measured(-0.128, 0.109, 1.82, 0.93),
    "class mean embedding": _Measured(-0.087, 0.103, 1.13, 0.91),
    "logistic latents": _Measured(0.005, 0.011, 0.72, 0.76),
    "logistic log-mel": _Measured(-0.087, 0.077, 1.31, 0.99),
    "logistic embedding": _Measured(-0.079, 0.099, 0.75, 1.15),
    "nearest latents": _Measured(-0.031, 0.039, 0.99, 0.61),
    "nearest tokens": _Measured(-0.104, 0.083, 0.64, 0.42),
    "few-shot": _Measured(-0.134, 0.181, 1.66, 1.17),
    "mixture": _Measured(0.0, 0.0, 0.97, 0.87),
    "mixture with embeddings": _Measured(0.014, 0.021, 0.91, 0.86),
    "mixture with few-shot": _Measured(0.017, 0.024, 0.99, 0.86),
    # decided, so wide that a handful of equal left-out answers does not overturn it, but some wrong ones do
    "class mean tagger": _Measured(0.35, 0.20, 1.13, 0.91),
    "logistic tagger": _Measured(0.35, 0.20, 0.75, 1.15),
    "class mean joined": _Measured(0.36, 0.20, 1.13, 0.91),
    "logistic joined": _Measured(0.36, 0.20, 0.75, 1.15),
    "zero-shot tagger": _Measured(-0.393, 0.222, 1.07, 1.10),
}
"""By role. What is said of an embedding was measured with a tagger's, YAMNet's."""

COVERAGES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
UNKNOWN_SHARES: Mapping[tuple[str, bool], Sequence[float]] = {
    ("latents", True): (0.401, 0.693, 0.857, 1.051, 1.34, 2.184),
    ("latents", False): (0.35, 0.574, 0.671, 0.79, 0.89, 1.107),
    ("tagger", True): (0.369, 0.511, 0.597, 0.752, 0.879, 1.342),
    ("tagger", False): (0.193, 0.27, 0.318, 0.421, 0.484, 0.638),
}
"""By representation, and by whether a label has one demonstration: within which share of the median distance
between demonstrations of different labels so many known clips were (COVERAGES). A tagger's are those of
sounds.
"""


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
