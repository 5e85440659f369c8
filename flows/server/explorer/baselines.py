"""What baselines and other labelers say, read from the JSON of an answer whatever it has of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {
    "majority": "commonest label",
    "nearest": "nearest by codes",
    "nearest_latent": "nearest by sound",
}
PROBABILITY, LABELERS = "_probability", "labelers"
ALSO_LABELERS = ("nearest", "nearest_latent")
"""Baselines that answers with labelers have twice."""


@dataclass(frozen=True)
class NamedGuess:
    """The label of a baseline, and its probability if it has one."""

    key: str
    label: str
    probability: float | None

    @property
    def name(self) -> str:
        """The baseline in words."""
        return NAMES.get(self.key, self.key.replace("_", " "))

    @property
    def is_neighbor(self) -> bool:
        """Whether it compared the clip with others."""
        return self.key not in ("majority", "chance")


def guesses(baselines: Mapping[str, Any]) -> list[NamedGuess]:
    """Return the labelers and baselines that name a label, those that compared the clip first."""
    labelers: Mapping[str, Mapping[str, Any]] = baselines.get(LABELERS) or {}
    said_twice = ALSO_LABELERS if labelers else ()
    found = [NamedGuess(name, one["label"], _number(one["probability"])) for name, one in labelers.items()]
    found += [
        NamedGuess(key, value, _number(baselines.get(key + PROBABILITY)))
        for key, value in baselines.items()
        if isinstance(value, str) and key not in said_twice
    ]
    return sorted(found, key=lambda guess: (not guess.is_neighbor, guess.key))


def numbers(baselines: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """Return the other numbers by name, such as the probability of chance."""
    labeled = {key + PROBABILITY for key, value in baselines.items() if isinstance(value, str)}
    return [
        (key.replace("_", " "), float(value))
        for key, value in sorted(baselines.items())
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in labeled
    ]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
