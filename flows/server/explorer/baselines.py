"""What baselines say, read from the JSON of an answer whatever baselines it has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NAMES = {
    "majority": "commonest label",
    "nearest": "nearest by codes",
    "nearest_latent": "nearest by sound",
}
PROBABILITY = "_probability"


@dataclass(frozen=True)
class Guess:
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


def guesses(baselines: Mapping[str, Any]) -> list[Guess]:
    """Return the baselines that name a label, those that compared the clip first."""
    found = [
        Guess(key, value, _number(baselines.get(key + PROBABILITY)))
        for key, value in baselines.items()
        if isinstance(value, str)
    ]
    return sorted(found, key=lambda guess: (not guess.is_neighbor, guess.key))


def numbers(baselines: Mapping[str, Any]) -> Sequence[tuple[str, float]]:
    """Return the other numbers by name, such as the probability of chance."""
    labeled = {guess.key + PROBABILITY for guess in guesses(baselines)}
    return [
        (key.replace("_", " "), float(value))
        for key, value in sorted(baselines.items())
        if isinstance(value, int | float) and not isinstance(value, bool) and key not in labeled
    ]


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
