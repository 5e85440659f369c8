"""When in a clip: events that labelers hear in clips joined from three known sounds with silence between.

`python -m benchmarks.events [CLIPS [SEED]]` joins clips of the recorded sound events and animals, which
trained nothing here but, by others, the model of WORDWAVE_EMBEDDINGS, and prints the frame-level F1 of its
labelers and a JSON line. A library shows three recordings of each of all labels, those of a joined clip
come from other groups. `python -m benchmarks.events dev` joins the sounds that this project makes by rule, by
which the constants of core.events are set. WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch

from benchmarks.recorded import LABELS, UNKNOWN_GROUPS, data_root, manifest, verdict, waveforms
from core.embeddings.embedder import Embedder, EmbeddingPass
from core.events.joining import Event, join_windows
from core.events.labelers import FewShotWindows, ShownWindows, WindowLabeler, ZeroShotWindows
from core.events.windows import ClipWindows, WindowGrid
from core.in_context.baselines import FloatArray
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler
from core.tokens.loudness import LevelMeter
from core.training.data.named_sounds import NAMED_SOUNDS
from core.training.data.sounds import sound_class
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime

CLIPS, SEED = 60, 2026
SETS = ("sound_events", "animals")
DEV_SETS = ("rule-made", "named sounds")
BAR_SET, BAR = "sound_events", 0.75
SOUNDS, SHOTS = 3, 3
SILENCE = (0.5, 2.0)
"""Shortest and longest silence before, between and after the sounds, in seconds."""
NOISE_DB = -20.0
"""Of the second kind of joined clips: noise throughout, under the loudest sample of the sounds."""
LONGEST_SOUND = 5.0
FRAME = 0.1
QUIET_DB, LONGEST_PAUSE = 40.0, 1.0
"""A sound is on where it is within so many dB of its loudest, and in pauses shorter than this."""
UNSEEN, RULE_MADE, TAKES, TAKE_SECONDS = 78_000_000, 10, 8, 3.0
"""Rule-made classes of the dev set: seed of the first, how many, and the takes of each."""

Frames = FloatArray
"""(frames, labels), 1 where a label is on."""


@dataclass(frozen=True, eq=False)
class LabeledSound:
    """A recording (T,), its label, and what it was recorded with."""

    samples: FloatArray
    label: str
    group: str


@dataclass(frozen=True, eq=False)
class Joined:
    """A clip made of sounds, with its frames as they should be."""

    samples: FloatArray
    truth: Frames


class Ear:
    """An embedding model with the codec's meter, as tokenizing runs them."""

    def __init__(self, runtime: Runtime) -> None:
        self.embedder: Embedder = runtime.embedders[0]
        self.rate = self.embedder.description.sample_rate
        self._block, self._span = runtime.codec_config.block_length, round(runtime.code_seconds * self.rate)
        of = self.embedder.description
        self.grid = WindowGrid(of.window / self.rate, of.hop / self.rate, runtime.code_seconds)

    def hear(self, samples: FloatArray) -> ClipWindows:
        """Return a clip in time, rounded as it is stored."""
        meter, windows = LevelMeter(self._span, self._block), EmbeddingPass(self.embedder, keep_windows=True)
        for _ in windows.follow(meter.measure([torch.from_numpy(samples.astype(np.float32))])):
            pass
        (found,) = windows.finish()
        assert found.windows is not None
        scores = np.zeros((len(found.windows), len(self.embedder.description.classes)))
        for at, class_number, score in found.timed:
            scores[at, class_number] = score
        vectors = found.windows.astype(np.float64)
        return ClipWindows(len(samples) / self.rate, meter.levels, vectors, scores)


def recorded_sounds(name: str, rate: int) -> list[LabeledSound]:
    """Return the recordings of a set; what the service rejects is left out."""
    group = "path" if name in UNKNOWN_GROUPS else "group"
    read = waveforms(data_root(), manifest(data_root(), name), rate)
    return [
        LabeledSound(
            samples[0, 0].numpy().astype(np.float64), str(row["labels"][LABELS[name]]), str(row[group])
        )
        for row, samples in read
    ]


def made_sounds(name: str) -> list[LabeledSound]:
    """Return sounds made by rule: classes with a name in words, or drawn ones."""
    drawn = {f"rule {number}": sound_class(UNSEEN + number) for number in range(RULE_MADE)}
    classes = NAMED_SOUNDS if name == "named sounds" else drawn
    return [
        LabeledSound(one.render(take, TAKE_SECONDS).astype(np.float64), label, f"{label} {take}")
        for label, one in classes.items()
        for take in range(TAKES)
    ]


def audible_part(samples: FloatArray, rate: int) -> tuple[FloatArray, FloatArray]:
    """Return a recording from where it begins to be heard to where it ends, and which samples are on."""
    step = rate // 50
    whole = samples[: len(samples) // step * step].reshape(-1, step)
    decibels = 20 * np.log10(np.maximum(np.sqrt(np.square(whole).mean(axis=1)), 1e-6))
    loud = np.flatnonzero(decibels > decibels.max() - QUIET_DB)
    on = np.zeros(len(whole))
    for before, after in zip(loud, [*loud[1:], loud[-1]], strict=True):
        is_pause = (after - before) * step < LONGEST_PAUSE * rate
        on[before : (after if is_pause else before) + 1] = 1
    part = slice(loud[0] * step, min((loud[-1] + 1) * step, loud[0] * step + int(LONGEST_SOUND * rate)))
    return samples[part], np.repeat(on, step)[part]


def join_sounds(
    sounds: Sequence[LabeledSound],
    labels: Sequence[str],
    rate: int,
    rng: np.random.Generator,
    noise_db: float | None,
) -> Joined:
    """Return the sounds one after the other, each as loud as the others, with silence around them."""
    parts, truth = [], []
    for sound in [*sounds, None]:
        silence = np.zeros(int(rng.uniform(*SILENCE) * rate))
        parts.append(silence)
        truth.append(np.zeros((len(silence), len(labels))))
        if sound:
            heard, on = audible_part(sound.samples, rate)
            parts.append(0.5 * heard / np.abs(heard).max())
            truth.append(on[:, None] * (np.array(labels) == sound.label))
    samples, on = np.concatenate(parts), np.concatenate(truth)
    if noise_db is not None:
        samples = samples + 0.5 * 10 ** (noise_db / 20) * rng.standard_normal(len(samples)) / 3
    step = int(FRAME * rate)
    frames = on[: len(on) // step * step].reshape(-1, step, len(labels)).mean(axis=1) > 0.5
    return Joined(samples, frames.astype(np.float64))


def frames_of(events: Sequence[Event], labels: Sequence[str], count: int) -> Frames:
    """Return the frames in which each label is on for more than half."""
    starts = np.arange(count) * FRAME
    found = np.zeros((count, len(labels)))
    for event in events:
        shared = np.minimum(starts + FRAME, event.end_s) - np.maximum(starts, event.start_s)
        found[shared > FRAME / 2, labels.index(event.label)] = 1
    return found


def f1(pairs: Sequence[tuple[Frames, Frames]]) -> float:
    """Return the F1 over all frames and labels of all clips, from (found, truth)."""
    right = sum(float((found * truth).sum()) for found, truth in pairs)
    total = sum(float(found.sum() + truth.sum()) for found, truth in pairs)
    return 2 * right / total if total else 0.0


def interval(pairs: Sequence[tuple[Frames, Frames]], seed: int) -> tuple[float, float]:
    """Return the 95 % interval of the F1 by bootstrap over clips."""
    rng = np.random.default_rng(seed)
    drawn = [f1([pairs[at] for at in rng.integers(len(pairs), size=len(pairs))]) for _ in range(500)]
    low, high = np.quantile(drawn, (0.025, 0.975))
    return float(low), float(high)


@dataclass(frozen=True, eq=False)
class Task:
    """A joined clip as heard, with the library that knows its labels."""

    clip: ClipWindows
    truth: Frames
    shown: Sequence[ShownWindows]


def tasks(
    sounds: Sequence[LabeledSound],
    heard: Sequence[ShownWindows],
    ear: Ear,
    rngs: Sequence[np.random.Generator],
    shots: int,
    noise_db: float | None,
) -> Iterator[Task]:
    """Yield joined clips of three labels, each with a library of all labels from other groups.

    heard: the same sounds in time. rngs: one for each clip.
    """
    labels = sorted({sound.label for sound in sounds})
    for rng in rngs:
        picked, by_label = _draw(sounds, labels, rng)
        shown = [heard[at] for of_label in by_label for at in rng.permutation(of_label)[:shots]]
        joined = join_sounds([sounds[at] for at in picked], labels, ear.rate, rng, noise_db)
        yield Task(ear.hear(joined.samples), joined.truth, shown)


def _draw(
    sounds: Sequence[LabeledSound], labels: Sequence[str], rng: np.random.Generator
) -> tuple[list[int], list[list[int]]]:
    """Draw sounds of different labels, until each label has some of other groups; return both."""
    while True:
        picked = [_pick(sounds, label, rng) for label in rng.permutation(labels)[:SOUNDS]]
        groups = {sounds[at].group for at in picked}
        others = [at for at, one in enumerate(sounds) if one.group not in groups]
        by_label = [[at for at in others if sounds[at].label == label] for label in labels]
        if all(by_label):
            return picked, by_label


def _pick(sounds: Sequence[LabeledSound], label: str, rng: np.random.Generator) -> int:
    return int(rng.choice([at for at, one in enumerate(sounds) if one.label == label]))


def labelers(task: Task, labels: Sequence[str], ear: Ear) -> Mapping[str, WindowLabeler]:
    """Return the labelers of windows by name."""
    name, classes = ear.embedder.description.name, ear.embedder.description.classes
    few_shot: dict[str, WindowLabeler] = {
        f"class mean {name}": FewShotWindows(ClassMeanLabeler, labels, task.shown, ear.grid),
        f"logistic {name}": FewShotWindows(LogisticLabeler, labels, task.shown, ear.grid),
    }
    return few_shot | ({f"zero-shot {name}": ZeroShotWindows(labels, classes, ear.grid)} if classes else {})


def measure(made: Sequence[Task], labels: Sequence[str], ear: Ear) -> dict[str, list[tuple[Frames, Frames]]]:
    """Return the frames found and those that should be by labeler."""
    found: dict[str, list[tuple[Frames, Frames]]] = {}
    for task in made:
        for name, labeler in labelers(task, labels, ear).items():
            events = join_windows(labels, labeler.scores(task.clip), task.clip, ear.grid)
            frames = frames_of(events, labels, len(task.truth))
            found.setdefault(name, []).append((frames, task.truth))
    return found


def report(name: str, ear: Ear, count: int, seed: int) -> Iterator[list[object]]:
    """Print the F1 of each labeler on a set, and yield it with its interval."""
    sounds = recorded_sounds(name, ear.rate) if name in LABELS else made_sounds(name)
    heard = [ShownWindows(ear.hear(sound.samples), sound.label) for sound in sounds]
    labels = sorted({sound.label for sound in sounds})
    for noise_db, shots in product((None, NOISE_DB), (SHOTS, 1)):
        rngs = [np.random.default_rng([seed, number]) for number in range(count)]
        made = list(tasks(sounds, heard, ear, rngs, shots, noise_db))
        around = "silence" if noise_db is None else "noise"
        print(f"{name}, {len(labels)} labels, {shots} shots, {around} between")
        for labeler, pairs in measure(made, labels, ear).items():
            reached, (low, high) = f1(pairs), interval(pairs, seed)
            judged = name == BAR_SET and noise_db is None and shots == SHOTS
            bar = f" of {BAR} {verdict(reached >= BAR)}" if judged else ""
            print(f"  {labeler:<24}{reached:.3f} [{low:.3f}, {high:.3f}]{bar}", flush=True)
            yield [name, around, shots, labeler, reached, low, high]


def main(names: Sequence[str], count: int, seed: int) -> None:
    """Print the F1 of each labeler on each set, and a JSON line."""
    torch.set_num_threads(1)
    runtime = Runtime(Settings())
    if not runtime.embedding_models:
        sys.exit("events need an embedding model: let WORDWAVE_EMBEDDINGS name one")
    ear = Ear(runtime)
    rows = [row for name in names for row in report(name, ear, count, seed)]
    print(json.dumps({"benchmark": "events", "clips": count, "seed": seed, "rows": rows}))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    dev = arguments[:1] == ["dev"]
    numbers = [int(one) for one in arguments[dev:]]
    count, seed = (*numbers, *(CLIPS, SEED)[len(numbers) :])
    main(DEV_SETS if dev else SETS, count, seed)
