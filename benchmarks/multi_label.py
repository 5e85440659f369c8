"""Several labels a clip: what the chosen labelers say of recorded sounds that were mixed.

`python -m benchmarks.multi_label [CLIPS [SEED]]` shows each recording of half of the groups once, alone or
added to one of another label, and asks about CLIPS clips made of the other groups. A clip has none, one or
two of five labels; sounds are added with equal power, and a clip without a label is of another sound. For
the labeler that is chosen for each label, with the models of WORDWAVE_EMBEDDINGS and without, and for a
plain threshold it prints the mean average precision over labels, F1 over all answers, the share of clips
whose labels are all right, and a JSON line. The threshold is on the cosine to the mean of the clips that
have the label, the best one on the clips shown. WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from torch import Tensor

from benchmarks.auto_labeler import answer
from benchmarks.recorded import DataRow, data_root, describe, manifest, waveforms
from core.embeddings.log_mel_model import LOG_MEL
from core.evaluation.episodes import LabeledClips
from core.evaluation.metrics import expected_calibration_error
from core.in_context.baselines import FloatArray
from core.in_context.choosing import Demonstration, Installed, choose
from core.in_context.vector_labelers import unit_rows
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.by_label import shown_for
from flows.pipeline.runtime.resources import Runtime

CLIPS, SEED = 60, 2026
LABELS = ("car_horn", "church_bells", "crying_baby", "dog", "snoring")
SHARES = (0.2, 0.3, 0.5)
"""Of clips with none, one and two of the labels."""
RESAMPLES = 1000

Recordings = Mapping[str, Sequence[Tensor]]
"""Recordings (1, 1, T) by sound."""
Scores = FloatArray
"""(clips, labels): how probable each label is."""


@dataclass(frozen=True)
class Figures:
    """Shares from 0 to 1, right: of clips whose labels are all right.

    precision: mean average precision over labels; f1: over all answers; off_by: the expected calibration
    error, None of scores that are no probability.
    """

    precision: float
    f1: float
    f1_interval: tuple[float, float]
    right: float
    off_by: float | None = None


def halves(rows: Sequence[DataRow]) -> tuple[set[str], set[str]]:
    """Return the groups to show and those to ask about: of each sound every other one."""
    shown, asked = set[str](), set[str]()
    for sound in sorted({_sound(row) for row in rows}):
        groups = sorted({row["group"] for row in rows if _sound(row) == sound} - shown - asked)
        shown.update(groups[::2])
        asked.update(groups[1::2])
    return shown, asked


def to_show(recordings: Recordings, rng: np.random.Generator) -> list[tuple[Tensor, str]]:
    """Return clips that have each recording once, alone or with one of another label, and their labels."""
    left = {
        label: [recordings[label][at] for at in rng.permutation(len(recordings[label]))] for label in LABELS
    }
    clips = [(one, "") for label in recordings if label not in LABELS for one in recordings[label]]
    while any(left.values()):
        labels = [label for label in rng.permutation(LABELS).tolist() if left[label]][: rng.integers(1, 3)]
        clips.append((mixed([left[label].pop() for label in labels]), ";".join(sorted(labels))))
    return clips


def to_ask(recordings: Recordings, count: int, rng: np.random.Generator) -> list[tuple[Tensor, str]]:
    """Return clips with none, one or two of the labels, and their labels."""
    others = [one for label in recordings if label not in LABELS for one in recordings[label]]
    clips = []
    for number in rng.choice(len(SHARES), size=count, p=SHARES).tolist():
        labels = rng.permutation(LABELS).tolist()[:number]
        sounds = [recordings[label] for label in labels] or [others]
        clips.append((mixed([of[int(rng.integers(len(of)))] for of in sounds]), ";".join(sorted(labels))))
    return clips


def mixed(sounds: Sequence[Tensor]) -> Tensor:
    """Return sounds of equal power together, (1, 1, T)."""
    total = torch.zeros(1, 1, max(one.shape[-1] for one in sounds))
    for one in sounds:
        total[..., : one.shape[-1]] += 0.05 * one / one.square().mean().sqrt()
    return total / max(1.0, float(total.abs().max()))


def average_precision(scores: FloatArray, truth: FloatArray) -> float:
    """Return the mean precision at each clip that has the label, from the highest score down."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    precisions = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float(precisions[ranked > 0].mean())


def f1(said: FloatArray, truth: FloatArray) -> float:
    """Return the F1 over all answers."""
    return 2 * float((said * truth).sum()) / max(1.0, float(said.sum() + truth.sum()))


def judge(scores: Scores, said: FloatArray, truth: FloatArray, *, are_probabilities: bool) -> Figures:
    """Return the figures of answers (clips, labels) of 0 and 1."""
    rng = np.random.default_rng(0)
    draws = rng.integers(len(truth), size=(RESAMPLES, len(truth)))
    low, high = np.percentile([f1(said[at], truth[at]) for at in draws], [2.5, 97.5])
    confidence = np.maximum(scores, 1 - scores).ravel().tolist()
    right = (said == truth).ravel().tolist()
    return Figures(
        precision=float(np.mean([average_precision(*pair) for pair in zip(scores.T, truth.T, strict=True)])),
        f1=f1(said, truth),
        f1_interval=(float(low), float(high)),
        right=float((said == truth).all(axis=1).mean()),
        off_by=expected_calibration_error(confidence, right) if are_probabilities else None,
    )


def by_choice(shown: LabeledClips, asked: LabeledClips, installed: Installed) -> tuple[Scores, list[str]]:
    """Return what the labeler that is chosen for each label says, and its name."""
    columns, names = [], []
    queries = [asked.features(at) for at in range(len(asked.labels))]
    for label in LABELS:
        labels = sorted([label, f"not {label}"])
        own = [one.split(";") for one in shown.labels]
        library = [
            Demonstration(shown.features(at), label if label in own[at] else f"not {label}")
            for at in shown_for(label, own)
        ]
        choice = choose(library, installed)
        columns.append(answer(choice, labels, library, installed, queries)[:, labels.index(label)])
        names.append(choice.name)
    return np.stack(columns, axis=1), names


def by_threshold(shown: LabeledClips, asked: LabeledClips, name: str) -> tuple[Scores, FloatArray]:
    """Return the cosine to the mean of the clips with each label, and whether it is above the threshold."""
    truth = truth_of(shown)
    directions, queries = unit_rows(_vectors(shown, name)), unit_rows(_vectors(asked, name))
    means = unit_rows(np.stack([directions[column > 0].mean(axis=0) for column in truth.T]))
    known, scores = directions @ means.T, queries @ means.T
    best = max(np.unique(known), key=lambda bound: f1((known >= bound).astype(float), truth))
    return scores, (scores >= best).astype(float)


def truth_of(clips: LabeledClips) -> FloatArray:
    """Return (clips, labels), 1 where a clip has a label."""
    return np.array([[float(label in own.split(";")) for label in LABELS] for own in clips.labels])


def recordings_of(runtime: Runtime, groups: set[str]) -> Recordings:
    """Return the recordings of some groups by sound."""
    root = data_root()
    rows = [row for row in manifest(root, "sound_events") if row["group"] in groups]
    by_sound: dict[str, list[Tensor]] = {}
    for row, waveform in waveforms(root, rows, runtime.codec.config.sample_rate):
        by_sound.setdefault(_sound(row), []).append(waveform)
    return by_sound


def described(runtime: Runtime, clips: Sequence[tuple[Tensor, str]]) -> LabeledClips:
    """Return clips with all that labelers compare of them."""
    labels, alone = tuple(own for _, own in clips), tuple(map(str, range(len(clips))))
    return describe([clip for clip, _ in clips], labels, alone, runtime.codec, runtime.embedders)


def main(count: int, seed: int) -> None:
    """Print the table and the JSON line."""
    torch.set_num_threads(1)
    runtime, rng = Runtime(Settings()), np.random.default_rng(seed)
    groups = halves(manifest(data_root(), "sound_events"))
    shown = described(runtime, to_show(recordings_of(runtime, groups[0]), rng))
    asked = described(runtime, to_ask(recordings_of(runtime, groups[1]), count, rng))
    truth, measured = truth_of(asked), dict[str, Figures]()
    shots = truth_of(shown).sum(axis=0).astype(int).tolist()
    print(f"{len(shown.labels)} clips shown, {shots} of the labels, and {count} asked")
    for name in (LOG_MEL, *shown.embeddings):
        scores, said = by_threshold(shown, asked, name)
        measured[f"threshold on {name}"] = judge(scores, said, truth, are_probabilities=False)
    for name, installed in {"auto": Installed(), "auto with models": shown.installed}.items():
        if name == "auto" or shown.embeddings:
            scores, chosen = by_choice(shown, asked, installed)
            print(f"{name}: {', '.join(map(': '.join, zip(LABELS, chosen, strict=True)))}")
            measured[name] = judge(scores, (scores > 0.5).astype(float), truth, are_probabilities=True)
    for name, one in measured.items():
        low, high = one.f1_interval
        error = "" if one.off_by is None else f", off by {one.off_by:.3f}"
        print(
            f"  {name:<24}mAP {one.precision:.2f}, F1 {one.f1:.2f} [{low:.2f}, {high:.2f}], "
            f"all labels right {one.right:.2f}{error}"
        )
    rows = {name: asdict(one) for name, one in measured.items()}
    print(json.dumps({"benchmark": "multi-label", "clips": count, "seed": seed, "rows": rows}))


def _sound(row: DataRow) -> str:
    return str(row["labels"]["event"])


def _vectors(clips: LabeledClips, name: str) -> FloatArray:
    return np.stack([clips.features(at).vectors[name] for at in range(len(clips.labels))]).astype(np.float64)


if __name__ == "__main__":
    numbers = [int(one) for one in sys.argv[1:]]
    main(*numbers, *(CLIPS, SEED)[len(numbers) :])
