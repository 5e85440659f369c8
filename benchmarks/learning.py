"""What reviews teach: a simulated reviewer who knows the truth, by our choice of clips and by random choice.

`python -m benchmarks.learning [SEEDS] [SET ...] [FILE.svg]` starts from one demonstration of each label.
Half of the groups (speakers, sessions) of a recorded set are the clips of the nights, the other half
measures, and which is which is drawn anew by each seed. After every queue of up to 10 reviews the library
learns and its labeler is chosen again, as the product does. A fifth of our reviews are drawn at random and
teach nothing, as in the product; every review of random choice teaches. Printed are the accuracy after 5 to
100 reviews, the area between the curves, paired over the seeds, and the share of the reviews that ours needs
for the accuracy of random choice. A last line is JSON; the curves are drawn into FILE.svg.
"""

import json
import pickle
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

from benchmarks.learning_plot import curves_svg
from benchmarks.recorded import data_root, labeled_clips, verdict
from core.evaluation.episodes import LabeledClips
from core.in_context.baselines import FloatArray
from core.in_context.choosing import (
    Demonstration,
    Installed,
    answer_by,
    build_labelers,
    choose,
    labeler_names,
)
from core.in_context.choosing.choice import Choice
from core.in_context.choosing.mixtures import with_mixtures
from core.in_context.reviewing.doubts import Doubt, weights
from core.in_context.reviewing.prototypes import keep_helpful
from core.in_context.reviewing.queue import choose_reviews
from core.in_context.reviewing.vectors import REVIEWED_BY
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.reviews.choosing import QUEUE_SIZE, RANDOM_SHARE
from flows.pipeline.runtime.resources import Runtime

SEEDS = 20
SETS = ("digits", "sound_events", "animals", "emotion")
SHOWN = (0, 5, 10, 20, 50, 100)
OURS, BY_CHANCE = "our choice", "random choice"
MOST_NEEDED = 0.6
"""Of the reviews of random choice that ours may need for the same accuracy."""

Curve = Mapping[int, float]
"""Accuracy on clips of other groups by the number of reviews."""


@dataclass(frozen=True)
class Nights:
    """The numbers of clips: of the nights, and of those that measure; the first library."""

    pool: tuple[int, ...]
    test: tuple[int, ...]
    first: tuple[int, ...]


def split(clips: LabeledClips, seed: int) -> Nights:
    """Draw half of the groups for the nights, and one clip of each label of theirs to begin with."""
    rng = np.random.default_rng([seed, 1])
    groups = sorted(set(clips.groups))
    half = set(rng.permutation(groups)[: len(groups) // 2])
    inside = [at for at, group in enumerate(clips.groups) if group in half]
    by_label: dict[str, list[int]] = {}
    for at in inside:
        by_label.setdefault(clips.labels[at], []).append(at)
    first = tuple(int(rng.choice(by_label[label])) for label in sorted(by_label))
    pool = tuple(at for at in inside if at not in first)
    test = tuple(
        at for at, group in enumerate(clips.groups) if group not in half and clips.labels[at] in by_label
    )
    return Nights(pool, test, first)


@dataclass(frozen=True)
class Version:
    """A library version: its clips and the labeler that is chosen for them."""

    shown: tuple[int, ...]
    library: tuple[Demonstration, ...]
    choice: Choice

    @classmethod
    def of(cls, clips: LabeledClips, shown: Sequence[int]) -> "Version":
        """Keep what helps, as learning does, and choose the labeler."""
        labels = [clips.labels[at] for at in shown]
        vectors = REVIEWED_BY.vectors([clips.features(at) for at in shown])
        kept = [shown[place] for place in keep_helpful(labels, vectors)]
        library = tuple(Demonstration(clips.features(at), clips.labels[at]) for at in kept)
        return cls(tuple(kept), library, choose(library, Installed()))

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels in alphabetical order."""
        return tuple(sorted({one.label for one in self.library}))

    def accuracy(self, clips: LabeledClips, asked: Sequence[int]) -> float:
        """Return the share of right answers."""
        queries = [clips.features(at) for at in asked]
        names = [one.name for one in self.choice.candidates]
        said = answer_by(self.choice.name, self.labels, self.library, Installed(), queries, names)
        right = [self.labels[row.argmax()] == clips.labels[at] for row, at in zip(said, asked, strict=True)]
        return float(np.mean(right))

    def doubts(self, clips: LabeledClips, asked: Sequence[int]) -> list[Doubt]:
        """Return what makes the answers about clips doubtful, as the stored answers of a night say it."""
        queries = [clips.features(at) for at in asked]
        built = build_labelers(
            labeler_names(self.library, Installed()), self.labels, self.library, Installed()
        )
        raw = with_mixtures({name: one.probabilities(queries) for name, one in built.items()}, ())
        said = {name: self.choice.calibrated(name, rows) for name, rows in raw.items()}
        own = np.sort(said[self.choice.name], axis=1)
        best = said[self.choice.name].argmax(axis=1)
        others = np.mean([rows.argmax(axis=1) != best for rows in said.values()], axis=0)
        bound = self.choice.unknown
        unknown = bound.are_unknown(self.library, queries) if bound else np.zeros(len(asked), dtype=bool)
        rows = zip(own[:, -1] - own[:, -2], others, unknown, strict=True)
        return [Doubt(float(margin), float(share), bool(far)) for margin, share, far in rows]


def review_by_our_choice(
    clips: LabeledClips, version: Version, pool: Sequence[int], known: Sequence[int], count: int
) -> list[int]:
    """Return the clips whose review settles the most doubt; known: shown or reviewed before."""

    def vectors(numbers: Sequence[int]) -> FloatArray:
        return REVIEWED_BY.vectors([clips.features(at) for at in numbers])

    doubts = weights(version.doubts(clips, pool))
    picks = choose_reviews(doubts, vectors(pool), vectors(known), count)
    return [pool[pick.number] for pick in picks]


def simulate(clips: LabeledClips, seed: int, way: str) -> Curve:
    """Return the accuracy after each queue."""
    nights, rng = split(clips, seed), np.random.default_rng([seed, 2])
    order = [nights.pool[at] for at in rng.permutation(len(nights.pool))]
    taught, reviewed = list(nights.first), set[int]()
    version = Version.of(clips, taught)
    curve = {0: version.accuracy(clips, nights.test)}
    for begin, end in queues(len(nights.pool)):
        drawn = [at for at in order if at not in reviewed]
        lessons = drawn[: end - begin]
        reviewed_now = lessons
        if way == OURS:
            measured = drawn[: measuring(begin, end)]
            pool = [at for at in drawn if at not in measured]
            known = [*taught, *reviewed]
            lessons = review_by_our_choice(clips, version, pool, known, end - begin - len(measured))
            reviewed_now = [*lessons, *measured]
        taught += lessons
        reviewed |= set(reviewed_now)
        version = Version.of(clips, taught)
        curve[end] = version.accuracy(clips, nights.test)
    return curve


def measuring(begin: int, end: int) -> int:
    """Return how many of the reviews from `begin` to `end` are of the random share."""
    return round(end * RANDOM_SHARE) - round(begin * RANDOM_SHARE)


def queues(pool: int) -> Iterator[tuple[int, int]]:
    """Yield where each queue begins and ends, up to 100 reviews or what the pool has."""
    ends = [5, *range(QUEUE_SIZE, 101, QUEUE_SIZE)]
    yield from ((begin, end) for begin, end in zip([0, *ends], ends, strict=False) if end <= pool)


def area(curve: Curve) -> float:
    """Return the mean accuracy over the reviews, by trapezoids."""
    at = sorted(curve)
    return float(np.trapezoid([curve[one] for one in at], at) / (at[-1] - at[0]))


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """Return the mean over the seeds, as far as all of them go."""
    common = sorted(set.intersection(*(set(one) for one in curves)))
    return {at: float(np.mean([one[at] for one in curves])) for at in common}


def needed(ours: Curve, accuracy: float) -> float:
    """Return the reviews after which our mean curve first has an accuracy; infinity if it never has."""
    at = sorted(ours)
    for before, after in pairwise(at):
        if ours[after] >= accuracy:
            rise = max(ours[after] - ours[before], 1e-12)
            return before + (after - before) * max(accuracy - ours[before], 0.0) / rise
    return float("inf")


def report(name: str, curves: Mapping[str, Sequence[Curve]]) -> tuple[list[str], dict[str, object]]:
    """Return the table of a set and its figures."""
    means = {way: mean_curve(some) for way, some in curves.items()}
    shown = [at for at in SHOWN if at in means[OURS]]
    ahead = np.array(
        [area(ours) - area(other) for ours, other in zip(curves[OURS], curves[BY_CHANCE], strict=True)]
    )
    half = 1.96 * float(ahead.std(ddof=1)) / len(ahead) ** 0.5
    low, high = float(ahead.mean()) - half, float(ahead.mean()) + half
    shares = {at: needed(means[OURS], means[BY_CHANCE][at]) / at for at in shown if at >= QUEUE_SIZE}
    lines = [f"{name}, {len(ahead)} seeds"]
    lines.append(f"  {'reviews':<16}" + "".join(f"{at:>8}" for at in shown))
    lines += [
        f"  {way:<16}" + "".join(f"{100 * curve[at]:>8.1f}" for at in shown) for way, curve in means.items()
    ]
    lines.append(
        f"  area between: {100 * ahead.mean():+.2f} points ({100 * low:+.2f} to {100 * high:+.2f}) "
        f"{verdict(low > 0)}"
    )
    last = max(shares)
    lines.append(
        "  reviews needed for the accuracy of random choice: "
        + ", ".join(f"{100 * share:.0f} % of {at}" for at, share in shares.items())
        + f" {verdict(shares[last] <= MOST_NEEDED)}"
    )
    figures: dict[str, object] = {"curves": means, "area": [float(ahead.mean()), low, high], "needed": shares}
    return lines, figures


def cached_clips(name: str, runtime: Runtime) -> LabeledClips:
    """Return a set with all that labelers compare, computed once for each codec."""
    folder = runtime.settings.home / "benchmarks"
    path = folder / f"{name}-{runtime.codec.fingerprint[:16]}.pickle"
    if path.exists():
        kept: LabeledClips = pickle.loads(path.read_bytes())
        return kept
    clips = labeled_clips(data_root(), name, runtime.codec)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(pickle.dumps(clips))
    return clips


def main(seeds: int, sets: Sequence[str], plot: Path | None) -> None:
    """Print a table for each set and the JSON line."""
    torch.set_num_threads(1)
    runtime = Runtime(Settings())
    figures: dict[str, object] = {}
    drawn: dict[str, Mapping[str, Curve]] = {}
    started = time.monotonic()
    for name in sets:
        clips = cached_clips(name, runtime)
        curves: dict[str, list[Curve]] = {OURS: [], BY_CHANCE: []}
        for seed in range(seeds):
            for way, some in curves.items():
                some.append(simulate(clips, seed, way))
        lines, figures[name] = report(name, curves)
        drawn[name] = {way: mean_curve(some) for way, some in curves.items()}
        print("\n".join(lines), flush=True)
    if plot:
        plot.write_text(curves_svg(drawn))
    used = {"codec": runtime.codec.fingerprint, "seconds": round(time.monotonic() - started)}
    print(json.dumps({"benchmark": "learning", "seeds": seeds, **used, "sets": figures}))


if __name__ == "__main__":
    given = sys.argv[1:]
    numbers = [int(one) for one in given if one.isdecimal()]
    files = [Path(one) for one in given if one.endswith(".svg")]
    named = [one for one in given if not one.isdecimal() and not one.endswith(".svg")]
    main(numbers[0] if numbers else SEEDS, named or SETS, files[0] if files else None)
