"""What each kind of labeler is worth on the dev sets: the constants of core.in_context.choosing.dev_prior.

`python -m benchmarks.dev_prior [EPISODES]` asks episodes of spoken digits and read speech (in the folder that
WORDWAVE_TEST_DATA names) and of sounds made by rule. It prints the temperatures in mixtures; by labeler its
lead over the mixture, how that differs between tasks, and its temperatures; and the distances of known clips.
The LLM is that of the settings, the embedding the first one that WORDWAVE_EMBEDDINGS names. No set that
`benchmarks.quality` asks is read.
"""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import product

import numpy as np
import torch

from benchmarks.recorded import data_root, describe, manifest, waveforms
from core.errors import PromptTooLong
from core.evaluation.episodes import Episode, LabeledClips, draw_episodes
from core.in_context.baselines import FloatArray, softmax
from core.in_context.calibration import fit_temperature, log_probabilities
from core.in_context.choosing import Demonstration, Prompted, build_labelers, labeler_names
from core.in_context.choosing.dev_prior import COVERAGES, MIXTURES, role
from core.in_context.choosing.labelers import (
    Representation,
)
from core.in_context.choosing.library import LATENTS, ProbabilityLabeler
from core.in_context.choosing.mixtures import MIXTURE, WITH_FEW_SHOT
from core.in_context.choosing.unknown import nearest_distances, typical_distance
from core.in_context.labelers import FewShotLabeler
from core.prompts.few_shot import FewShotSettings
from core.training.data.named_sounds import NAMED_SOUNDS
from core.training.data.sounds import SoundClass, sound_class
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.language_model import LanguageModel
from flows.pipeline.runtime.resources import Runtime

EPISODES = 60
SEED = 5
TAKES_OF_DIGITS = 10
UNSEEN = 77_000_000
"""Seed of the first rule-made class; no shipped model was trained on these."""
RULE_MADE, TAKES = 48, 10
SOUNDS = ("rule-made", "named sounds")
TAGGER = "tagger"
LEAST_SPREAD = 0.01

TASKS = (
    ("digits", ((2, 1), (3, 3), (5, 3), (5, 8))),
    ("voices", ((2, 1), (4, 3))),
    ("speakers", ((2, 1), (4, 3))),
    ("sex", ((2, 1), (2, 3), (2, 8))),
    ("rule-made", ((2, 1), (3, 1), (5, 3), (5, 7))),
    ("named sounds", ((3, 1), (5, 3), (5, 8))),
)


@dataclass
class Answers:
    """What all labelers say in the episodes of one task: probabilities (episodes, labels) by kind.

    shares: by kind of representation the distance of each query to the nearest demonstration, over the
    typical one between demonstrations of different labels. are_sounds: whether taggers are for such clips.
    """

    shots: int
    are_sounds: bool
    gold: list[int] = field(default_factory=list)
    said: dict[str, list[FloatArray]] = field(default_factory=dict)
    shares: dict[str, list[float]] = field(default_factory=dict)

    def logits(self, name: str) -> FloatArray:
        """Return log probabilities (episodes, labels)."""
        return log_probabilities(np.array(self.said[name]))

    def knows(self, names: Sequence[str]) -> bool:
        """Return whether all of them answered every episode."""
        return all(len(self.said.get(name, ())) == len(self.gold) for name in names)


def dev_sets(runtime: Runtime) -> Iterator[tuple[str, LabeledClips]]:
    """Yield the dev sets by name; the same clips may be asked for other labels."""
    codec, embedders, root = runtime.codec, runtime.embedders[:1], data_root()
    digits = [row for row in manifest(root, "digits") if row["take"] < TAKES_OF_DIGITS]
    for rows, tasks in (
        (digits, {"digits": ("text", "speaker"), "voices": ("speaker", "text")}),
        (manifest(root, "speech_clean"), {"speakers": ("speaker", "path"), "sex": ("sex", "speaker")}),
    ):
        read = [waveform for _, waveform in waveforms(root, rows, codec.config.sample_rate)]
        blank = tuple(str(row["path"]) for row in rows)
        clips = describe(read, blank, blank, codec, embedders)
        for name, keys in tasks.items():
            labels, groups = (tuple(str((row | row["labels"])[key]) for row in rows) for key in keys)
            yield name, replace(clips, labels=labels, groups=groups)
    rule_made = [sound_class(UNSEEN + number) for number in range(RULE_MADE)]
    for name, classes in (("rule-made", rule_made), ("named sounds", list(NAMED_SOUNDS.values()))):
        yield name, _rendered(classes, runtime)


def _rendered(classes: Sequence[SoundClass], runtime: Runtime) -> LabeledClips:
    takes = [(one, take) for one in classes for take in range(TAKES)]
    read = [torch.from_numpy(one.render(take))[None, None] for one, take in takes]
    labels, groups = tuple(one.name for one, _ in takes), tuple(map(str, range(len(takes))))
    return describe(read, labels, groups, runtime.codec, runtime.embedders[:1])


def ask(
    clips: LabeledClips, episodes: Sequence[Episode], answers: Answers, llm: LanguageModel | None
) -> Answers:
    """Add the answers of all labelers to the episodes, and return them."""

    def prompted(labels: Sequence[str], shown: Sequence[Demonstration]) -> ProbabilityLabeler:
        assert llm is not None
        clips_shown = [one.clip for one in shown]
        settings = FewShotSettings()
        return Prompted(labels, FewShotLabeler(llm.llama, llm.vocabulary, labels, clips_shown, settings))

    installed = replace(clips.installed, few_shot=prompted if llm else None)
    for episode in episodes:
        library, query = episode.library(clips), clips.features(episode.query)
        answers.gold.append(episode.label_set.index(episode.answer))
        for name in labeler_names(library, installed):
            try:
                built = build_labelers([name], episode.label_set, library, installed)
            except PromptTooLong:
                continue
            said = built[name].probabilities([query])[0]
            answers.said.setdefault(role(name, clips.installed).replace("tagger", "embedding"), []).append(
                said
            )
        for name in (LATENTS, *clips.embeddings):
            one = Representation(name, () if name == LATENTS else (name,))
            share = nearest_distances(one, library, [query])[0] / typical_distance(one, library)
            answers.shares.setdefault(LATENTS if name == LATENTS else TAGGER, []).append(float(share))
    return answers


def fit_mixture(tasks: Sequence[Answers], parts: Sequence[str]) -> dict[str, float]:
    """Return the temperatures that together make the right labels most probable, over equal tasks.

    The log likelihood is concave in their inverses, which are kept at 0 or more by projected steps.
    """
    usable = [task for task in tasks if task.knows(parts)]
    logits = [np.stack([task.logits(name) for name in parts], axis=1) for task in usable]
    weights = np.full(len(parts), 0.3)
    for _ in range(1500):
        slope = np.zeros(len(parts))
        for task, of in zip(usable, logits, strict=True):
            mixed = softmax(np.einsum("l,nlc->nc", weights, of))
            right = of[np.arange(len(of)), :, task.gold]
            slope += (right - np.einsum("nc,nlc->nl", mixed, of)).mean(axis=0) / len(usable)
        weights = np.maximum(0.0, weights + 0.05 * (slope - 0.04 * (weights - 0.3)))
    return {name: round(float(1 / max(at, 0.05)), 2) for name, at in zip(parts, weights, strict=True)}


def mix(tasks: Sequence[Answers], name: str, temperatures: Mapping[str, float]) -> None:
    """Add a mixture's answers to those of each task that has its parts."""
    for task in tasks:
        if task.knows(list(temperatures)):
            logits = sum(task.logits(part) / at for part, at in temperatures.items())
            task.said[name] = list(softmax(np.asarray(logits)))


def worth(tasks: Sequence[Answers], name: str) -> dict[str, float]:
    """Return a labeler's lead over the mixture, its spread, its temperatures, and its accuracy."""
    usable = [task for task in tasks if task.knows([name])]
    ahead = [_right(task, name) - _right(task, MIXTURE) for task in usable]
    leads = np.array([one.mean() for one in ahead])
    by_chance = np.mean([one.var() / len(one) for one in ahead])
    spread = float(np.sqrt(max(leads.var(ddof=1) - by_chance, LEAST_SPREAD**2)))
    one_shot, more = (
        _temperature([task for task in usable if (task.shots == 1) == single], name)
        for single in (True, False)
    )
    accuracy = float(np.mean([_right(task, name).mean() for task in usable]))
    return {
        "lead": round(float(leads.mean()), 3),
        "spread": round(spread if name != MIXTURE else 0.0, 3),
        "one_shot": round(one_shot, 2),
        "more_shots": round(more, 2),
        "accuracy": round(accuracy, 3),
    }


def _right(task: Answers, name: str) -> FloatArray:
    said = np.array(task.said[name])
    best = said == said.max(axis=1, keepdims=True)
    right: FloatArray = (best / best.sum(axis=1, keepdims=True))[np.arange(len(said)), task.gold]
    return right


def _temperature(tasks: Sequence[Answers], name: str) -> float:
    """Return the geometric mean of the tasks' temperatures, each fitted with 1 as its prior."""
    fitted = [fit_temperature(np.array(task.said[name]), task.gold, prior=1.0) for task in tasks]
    return float(np.exp(np.mean(np.log(fitted))))


def unknown_shares(tasks: Sequence[Answers]) -> dict[str, dict[float, float]]:
    """Return by kind, shots and coverage the quantiles of known queries' distances; a tagger's for sounds."""
    found = {}
    for kind, few in product((LATENTS, TAGGER), (True, False)):
        asked = [task for task in tasks if (task.shots == 1) == few and (kind == LATENTS or task.are_sounds)]
        shares = np.concatenate([task.shares[kind] for task in asked])
        quantiles = {at: round(float(np.quantile(shares, at)), 3) for at in COVERAGES}
        found[f"{kind}, {'1 shot' if few else 'more shots'}"] = quantiles
    return found


def main(count: int, settings: Settings) -> None:
    """Print the constants."""
    torch.set_num_threads(1)
    started, runtime = time.monotonic(), Runtime(settings)
    tasks, columns = [], dict(TASKS)
    for name, clips in dev_sets(runtime):
        for n_way, shots in columns[name]:
            episodes = draw_episodes(clips, n_way, shots, count, seed=SEED)
            tasks.append(ask(clips, episodes, Answers(shots, name in SOUNDS), runtime.llm))
            print(f"{name} {n_way}-way {shots}-shot {time.monotonic() - started:.0f} s", file=sys.stderr)
    kinds = {name: tuple(parts) for name, parts in MIXTURES.items() if name != WITH_FEW_SHOT or runtime.llm}
    mixtures = {name: fit_mixture(tasks, parts) for name, parts in kinds.items()}
    for name, temperatures in mixtures.items():
        mix(tasks, name, temperatures)
    names = dict.fromkeys(name for task in tasks for name in task.said)
    priors = {name: worth(tasks, name) for name in names}
    shares = unknown_shares(tasks)
    for part, values in (("mixtures", mixtures), ("priors", priors), ("unknown", shares)):
        print("\n".join([part, *(f"  {name}: {value}" for name, value in values.items())]))
    embedding = [one.fingerprint for one in runtime.embedders[:1]]
    used = {"codec": runtime.codec.fingerprint, "embedding": embedding, "seconds": time.monotonic() - started}
    print(
        json.dumps(
            {"benchmark": "dev_prior", "episodes": count, **used, "mixtures": mixtures, "priors": priors}
        )
    )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES, Settings())
