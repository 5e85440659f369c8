"""Token sequences that repeat themselves as sounds do: common codes, syllables of a class and of a source.

A source stands for what was recorded together, such as one animal or one room. Its clips share syllables, so
that the clips most similar to one are mostly of its source. Every 200th clip is the one before it with two
codes changed, as after another encoding.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LABELS = (
    "dog", "cat", "rain", "siren", "bell", "river", "crow", "frog", "engine", "speech",
    "music", "laughter", "door", "steps", "wind", "thunder", "glass", "saw", "drill", "train",
    "plane", "horn", "clock", "keyboard", "baby", "sneeze", "cough", "snore", "sheep", "cow",
    "rooster", "hen", "pig", "insects", "waves", "fire", "bubbles", "brush", "vacuum", "fireworks",
)  # fmt: skip
NUM_CODES = 512
NUM_PER_CLIP = 84
"""Ten seconds in codes of 0.12 s, rounded up to whole syllables."""
CLIPS_PER_SOURCE = 20
SYLLABLE, SLOTS = 3, 28
OF_CLASS, OF_SOURCE = 60, 12
SHARES = (0.45, 0.8)
"""Up to the first of a source's syllables, up to the second of its class's, then any codes."""
NEAR_COPY_EVERY, CHANGED = 200, 2

Codes = NDArray[np.int16]


@dataclass(frozen=True)
class Corpus:
    """Codes (clips, codes) and the class of each clip, a number of LABELS."""

    codes: Codes
    classes: NDArray[np.int64]


def make_corpus(clips: int, seed: int) -> Corpus:
    """Return the token sequences of so many clips."""
    rng = np.random.default_rng(seed)
    sources = -(-clips // CLIPS_PER_SOURCE)
    class_of_source = rng.choice(len(LABELS), sources, p=_falling(len(LABELS), 0.7))
    source = rng.integers(0, sources, clips)
    classes = class_of_source[source]
    of_class = _codes(rng, (len(LABELS), OF_CLASS, SYLLABLE))
    of_source = _codes(rng, (sources, OF_SOURCE, SYLLABLE))
    codes = np.empty((clips, SLOTS, SYLLABLE), np.int16)
    for slot in range(SLOTS):
        kind = rng.random(clips)[:, None]
        theirs = of_source[source, rng.choice(OF_SOURCE, clips, p=_falling(OF_SOURCE, 0.5))]
        usual = of_class[classes, rng.choice(OF_CLASS, clips, p=_falling(OF_CLASS, 0.5))]
        rest = np.where(kind < SHARES[1], usual, _codes(rng, (clips, SYLLABLE)))
        codes[:, slot] = np.where(kind < SHARES[0], theirs, rest)
    flat = codes.reshape(clips, NUM_PER_CLIP)
    copies = np.arange(NEAR_COPY_EVERY // 2 + 1, clips, NEAR_COPY_EVERY)  # of contents of their own
    flat[copies], classes[copies] = flat[copies - 1], classes[copies - 1]
    for _ in range(CHANGED):
        flat[copies, rng.integers(0, NUM_PER_CLIP, len(copies))] = _codes(rng, (len(copies),))
    return Corpus(flat, classes)


def _falling(count: int, power: float) -> NDArray[np.float64]:
    """Return probabilities that fall with the rank."""
    weights = np.arange(1, count + 1, dtype=np.float64) ** -power
    falling: NDArray[np.float64] = weights / weights.sum()
    return falling


def _codes(rng: np.random.Generator, shape: tuple[int, ...]) -> Codes:
    """Draw codes, few of them most of the time: with the perplexity of about 130 that mini-codec has."""
    drawn = np.searchsorted(np.cumsum(_falling(NUM_CODES, 0.9)), rng.random(shape))
    return np.minimum(drawn, NUM_CODES - 1).astype(np.int16)
