"""How good answers to episodes are, and how sure that figure is."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from core.evaluation.episodes import Episode
from core.evaluation.methods import Reply
from core.evaluation.metrics import expected_calibration_error
from core.in_context.baselines import FloatArray

NUM_RESAMPLES = 2000

Interval = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Score:
    """Shares from 0 to 1. The intervals hold the accuracy with 95 %.

    episode_interval resamples episodes as if each were a new clip; clip_interval resamples the query clips,
    and is the honest one where few clips are asked in many episodes. ece: expected calibration error.
    """

    accuracy: float
    episode_interval: Interval
    clip_interval: Interval
    ece: float
    episodes: int
    clips: int


def score(replies: Sequence[Reply], episodes: Sequence[Episode], *, seed: int = 0) -> Score:
    """How good the replies to the episodes are, one to each."""
    gold = [one.label_set.index(one.answer) for one in episodes]
    right = np.array([reply.said[index] for reply, index in zip(replies, gold, strict=True)])
    promised = [float(reply.said @ reply.probabilities) for reply in replies]
    queries = np.array([one.query for one in episodes])
    return Score(
        accuracy=float(right.mean()),
        episode_interval=_bootstrap(right, np.arange(len(right)), seed),
        clip_interval=_bootstrap(right, queries, seed),
        ece=expected_calibration_error(promised, right.tolist()),
        episodes=len(episodes),
        clips=len(np.unique(queries)),
    )


def lead(
    one: Sequence[Reply], other: Sequence[Reply], episodes: Sequence[Episode], *, seed: int = 0
) -> Interval:
    """Return by how much one way to answer is more often right than another, with 95 % over query clips.

    Both answered the same episodes, so what makes an episode hard cancels out.
    """
    gold = [episode.label_set.index(episode.answer) for episode in episodes]
    pairs = zip(one, other, gold, strict=True)
    ahead = np.array([mine.said[at] - theirs.said[at] for mine, theirs, at in pairs])
    return _bootstrap(ahead, np.array([episode.query for episode in episodes]), seed)


def _bootstrap(right: FloatArray, units: npt.NDArray[np.int64], seed: int) -> Interval:
    """2.5 and 97.5 % of the accuracy when the units are drawn anew."""
    _, at = np.unique(units, return_inverse=True)
    hits, sizes = np.bincount(at, right), np.bincount(at)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(NUM_RESAMPLES, len(sizes)))
    low, high = np.quantile(hits[drawn].sum(1) / sizes[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)
