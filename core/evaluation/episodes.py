"""Few-shot episodes drawn from labeled clips: N classes, K demonstrations of each, one query."""

import random
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from core.in_context.baselines import FloatArray
from core.in_context.choosing import Demonstration, Installed
from core.in_context.features import ClipFeatures
from core.prompts.demonstrations import LabeledClip
from core.tokens.clip_codes import ClipCodes


@dataclass(frozen=True)
class LabeledClips:
    """Clips with a label and a group each; clips of one group were recorded together.

    A clip of unknown origin is a group of its own. vectors: by name, (clips, D) features that baselines
    compare instead of codes; embeddings: the same of installed models; scores: (clips, classes) of those that
    are taggers, and classes their names.
    """

    codes: tuple[ClipCodes, ...]
    labels: tuple[str, ...]
    groups: tuple[str, ...]
    vectors: Mapping[str, FloatArray] = field(default_factory=dict)
    embeddings: Mapping[str, FloatArray] = field(default_factory=dict)
    scores: Mapping[str, FloatArray] = field(default_factory=dict)
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def features(self, number: int) -> ClipFeatures:
        """Return what is known of a clip."""
        vectors = {name: rows[number] for name, rows in {**self.vectors, **self.embeddings}.items()}
        scores = {name: rows[number] for name, rows in self.scores.items()}
        return ClipFeatures(self.codes[number], vectors, scores)

    @property
    def installed(self) -> Installed:
        """The installed models that these clips have the answers of."""
        return Installed(tuple(self.embeddings), self.classes)

    def __post_init__(self) -> None:
        if not len(self.codes) == len(self.labels) == len(self.groups):
            raise ValueError(
                f"{len(self.codes)} clips have {len(self.labels)} labels and {len(self.groups)} groups: "
                "each clip needs one of both"
            )


@dataclass(frozen=True, slots=True)
class Episode:
    """Clip numbers of the demonstrations in prompt order, and of the query."""

    demonstrations: tuple[int, ...]
    labels: tuple[str, ...]
    """One for each demonstration."""
    query: int
    answer: str

    @property
    def label_set(self) -> tuple[str, ...]:
        """Labels of the episode in alphabetical order."""
        return tuple(sorted(set(self.labels)))

    def library(self, clips: LabeledClips) -> list[Demonstration]:
        """Return the demonstrations with their groups, as a library has them."""
        numbered = zip(self.demonstrations, self.labels, strict=True)
        return [Demonstration(clips.features(at), label, clips.groups[at]) for at, label in numbered]

    def shots(self, clips: LabeledClips) -> list[LabeledClip]:
        """Return the demonstrations with the labels of this episode."""
        numbered = zip(self.demonstrations, self.labels, strict=True)
        return [LabeledClip(clips.codes[number], label) for number, label in numbered]


def draw_episodes(clips: LabeledClips, n_way: int, k_shot: int, count: int, *, seed: int) -> list[Episode]:
    """Draw `count` episodes of `n_way` classes; the query's class is drawn evenly among those possible.

    No demonstration is from the query's group. Raises ValueError when too few classes have `k_shot` clips.
    """
    members: dict[str, list[int]] = defaultdict(list)
    for number, label in enumerate(clips.labels):
        members[label].append(number)
    queries = _queries(clips, members, n_way, k_shot)
    if not queries:
        raise ValueError(
            f"no clip can be a query: {n_way} labels with {k_shot} clips each outside its group are needed, "
            f"of {len(members)} in all; use fewer labels or demonstrations"
        )
    rng = random.Random(seed)
    return [_draw(clips, members, queries, n_way, k_shot, rng) for _ in range(count)]


def shuffle_labels(episodes: Sequence[Episode], *, seed: int) -> list[Episode]:
    """Return the episodes with shuffled demonstration labels, which leave a method at chance."""
    rng = random.Random(seed)
    return [replace(one, labels=tuple(rng.sample(one.labels, len(one.labels)))) for one in episodes]


def _draw(
    clips: LabeledClips,
    members: Mapping[str, list[int]],
    queries: Mapping[str, list[int]],
    n_way: int,
    k_shot: int,
    rng: random.Random,
) -> Episode:
    answer = rng.choice(list(queries))
    query = rng.choice(queries[answer])
    left = {label: _outside(clips, numbers, clips.groups[query]) for label, numbers in members.items()}
    others = [label for label in left if label != answer and len(left[label]) >= k_shot]
    classes = [answer, *rng.sample(others, n_way - 1)]
    shots = [(number, label) for label in classes for number in rng.sample(left[label], k_shot)]
    rng.shuffle(shots)
    return Episode(tuple(n for n, _ in shots), tuple(label for _, label in shots), query, answer)


def _queries(
    clips: LabeledClips, members: Mapping[str, list[int]], n_way: int, k_shot: int
) -> dict[str, list[int]]:
    """Return by class the clips whose class and enough others have `k_shot` clips outside their group."""
    inside = Counter(zip(clips.labels, clips.groups, strict=True))
    usable = {
        group: {label for label in members if len(members[label]) - inside[label, group] >= k_shot}
        for group in set(clips.groups)
    }
    fitting = {
        label: [n for n in numbers if label in (left := usable[clips.groups[n]]) and len(left) >= n_way]
        for label, numbers in members.items()
    }
    return {label: numbers for label, numbers in fitting.items() if numbers}


def _outside(clips: LabeledClips, members: Sequence[int], group: str) -> list[int]:
    return [number for number in members if clips.groups[number] != group]
