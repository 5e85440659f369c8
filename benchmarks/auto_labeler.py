"""The labeler that is chosen for a library, asked about an episode's query and about all other clips."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.means import Mean, mean_of
from core.evaluation.episodes import Episode, LabeledClips
from core.evaluation.methods import Reply, most_probable
from core.evaluation.metrics import expected_calibration_error
from core.in_context.baselines import FloatArray
from core.in_context.choosing import Choice, Demonstration, Installed, answer_by, choose
from core.in_context.choosing.zero_shot import ZeroShotLabeler
from core.in_context.features import ClipFeatures

COVERAGE = 0.9
PERFECT_DRAWS = 50


class AutoLabeler:
    """The labeler that is chosen by an episode's demonstrations, with installed models or without.

    For the clips of one set: a choice is made once for each episode.
    """

    def __init__(self, *, with_models: bool) -> None:
        self._with_models = with_models
        self._choices: dict[Episode, Choice] = {}

    def __call__(self, clips: LabeledClips, episode: Episode) -> Reply:
        choice, library, installed = self.choose(clips, episode)
        queries = [clips.features(episode.query)]
        return most_probable(answer(choice, episode.label_set, library, installed, queries)[0])

    def choose(self, clips: LabeledClips, episode: Episode) -> tuple[Choice, list[Demonstration], Installed]:
        """Return the choice for an episode, and what it is made of."""
        library = episode.library(clips)
        installed = clips.installed if self._with_models else Installed()
        if episode not in self._choices:
            self._choices[episode] = choose(library, installed, coverage=COVERAGE)
        return self._choices[episode], library, installed


def answer(
    choice: Choice,
    labels: Sequence[str],
    library: Sequence[Demonstration],
    installed: Installed,
    queries: Sequence[ClipFeatures],
) -> FloatArray:
    """Return the calibrated probabilities (queries, labels) of the chosen labeler."""
    known = [one.name for one in choice.candidates]
    return choice.calibrated(choice.name, answer_by(choice.name, labels, library, installed, queries, known))


@dataclass
class OtherClips:
    """What is said of all clips outside the groups of an episode's demonstrations.

    confidences and right: of clips of its labels; kept and rejected: whether clips of its labels were taken
    for known, and clips of other labels for unknown. units: the number of the clip.
    """

    confidences: list[float] = field(default_factory=list)
    right: list[bool] = field(default_factory=list)
    kept: list[bool] = field(default_factory=list)
    kept_units: list[int] = field(default_factory=list)
    rejected: list[bool] = field(default_factory=list)
    rejected_units: list[int] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)

    @property
    def calibration_error(self) -> float:
        """The expected calibration error, less what as many perfectly calibrated answers show.

        Noise and error add as squares. Answers count as independent, though clips are asked often.
        """
        measured = expected_calibration_error(self.confidences, self.right)
        generator = np.random.default_rng(0)
        drawn = generator.random((PERFECT_DRAWS, len(self.right))) < np.array(self.confidences)
        by_chance = np.mean([expected_calibration_error(self.confidences, one.tolist()) for one in drawn])
        return math.sqrt(max(0.0, measured**2 - float(by_chance) ** 2))

    @property
    def known_kept(self) -> Mean:
        """The share of clips of the episodes' labels that were taken for known."""
        return mean_of(np.array(self.kept, float), self.kept_units)

    @property
    def unknown_rejected(self) -> Mean:
        """The share of clips of other labels that were taken for unknown."""
        return mean_of(np.array(self.rejected, float), self.rejected_units)


def ask_other_clips(auto: AutoLabeler, clips: LabeledClips, episodes: Sequence[Episode]) -> OtherClips:
    """Ask each episode's labeler about all other clips, since the choice costs more than an answer."""
    asked = OtherClips()
    for episode in episodes:
        choice, library, installed = auto.choose(clips, episode)
        shown = {clips.groups[at] for at in episode.demonstrations}
        others = [at for at, group in enumerate(clips.groups) if group not in shown]
        features = [clips.features(at) for at in others]
        unknown = (
            choice.unknown.are_unknown(library, features) if choice.unknown else np.zeros(len(others), bool)
        )
        said = answer(choice, episode.label_set, library, installed, features)
        asked.chosen.append(choice.name)
        for at, is_unknown, row in zip(others, unknown.tolist(), said, strict=True):
            if clips.labels[at] not in episode.label_set:
                asked.rejected.append(is_unknown)
                asked.rejected_units.append(at)
                continue
            asked.kept.append(not is_unknown)
            asked.kept_units.append(at)
            asked.confidences.append(float(row.max()))
            asked.right.append(episode.label_set[int(row.argmax())] == clips.labels[at])
    return asked


def zero_shot(clips: LabeledClips) -> dict[str, Mean]:
    """Return by tagger how often it names clips among all labels of the set, without a demonstration."""
    labels = sorted(set(clips.labels))
    gold = np.array([labels.index(label) for label in clips.labels])
    features = [clips.features(at) for at in range(len(gold))]
    found = {}
    for tagger, classes in clips.classes.items():
        said = ZeroShotLabeler(labels, tagger, classes, clips.installed).probabilities(features)
        found[tagger] = mean_of((said.argmax(axis=1) == gold).astype(float))
    return found
