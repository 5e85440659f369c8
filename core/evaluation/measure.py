"""Accuracy of answers to episodes, with confidence intervals."""

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
    """Shares from 0 to 1, with 95 % intervals of the accuracy.

    episode_interval resamples episodes as if each had a new clip. clip_interval resamples the query clips,
    and is the one to trust when few clips are asked in many episodes. ece: expected calibration error.
    """

    accuracy: float
    episode_interval: Interval
    clip_interval: Interval
    ece: float
    episodes: int
    clips: int


def score(replies: Sequence[Reply], episodes: Sequence[Episode], *, seed: int = 0) -> Score:
    """Score the replies to the episodes, one each."""
    gold = [one.label_set.index(one.answer) for one in episodes]
    right = np.array([reply.votes[index] for reply, index in zip(replies, gold, strict=True)])
    promised = [float(reply.votes @ reply.probabilities) for reply in replies]
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
    """Return the 95 % interval, over query clips, of the difference in accuracy of two methods.

    Both answered the same episodes, so the difficulty of an episode cancels out.
    """
    gold = [episode.label_set.index(episode.answer) for episode in episodes]
    pairs = zip(one, other, gold, strict=True)
    ahead = np.array([mine.votes[at] - theirs.votes[at] for mine, theirs, at in pairs])
    return _bootstrap(ahead, np.array([episode.query for episode in episodes]), seed)


def _bootstrap(right: FloatArray, units: npt.NDArray[np.int64], seed: int) -> Interval:
    """Return the 2.5 and 97.5 % quantiles of the accuracy over resampled units."""
    _, at = np.unique(units, return_inverse=True)
    hits, sizes = np.bincount(at, right), np.bincount(at)
    drawn = np.random.default_rng(seed).integers(len(sizes), size=(NUM_RESAMPLES, len(sizes)))
    low, high = np.quantile(hits[drawn].sum(1) / sizes[drawn].sum(1), (0.025, 0.975))
    return float(low), float(high)
