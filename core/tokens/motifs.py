"""Subsequences of codes that are typical of a label: how many of its clips have them, and of the others'.

A clip counts once for a subsequence, however often it has it. All single codes are kept, and of the longer
ones those that are most typical of some label.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

LONGEST = 4
CODE_BITS = 15
MOST, LEAST_SHARE = 300, 0.02
"""Longer subsequences of a label, and the share of its clips that must have them."""

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Motif:
    """Codes one after another, the clips of a label that have them, and the clips of all other labels."""

    label: str
    codes: tuple[int, ...]
    clips: int
    elsewhere: int


def count_motifs(sequences: Sequence[Sequence[int]], labels: Sequence[str]) -> list[Motif]:
    """Return the motifs of labeled sequences, each label's by length and code."""
    names = sorted(set(labels))
    of_sequence = np.asarray([names.index(label) for label in labels])
    sizes = np.bincount(of_sequence, minlength=len(names))
    found: list[Motif] = []
    for length in range(1, LONGEST + 1):
        grams, clips = _clips_by_label(sequences, of_sequence, length, len(names))
        for label, gram in np.argwhere(clips * _is_kept(clips, sizes, length)):
            here, all_of_it = int(clips[label, gram]), int(clips[:, gram].sum())
            found.append(Motif(names[label], _codes(int(grams[gram]), length), here, all_of_it - here))
    return sorted(found, key=lambda motif: (motif.label, len(motif.codes), motif.codes))


def _clips_by_label(
    sequences: Sequence[Sequence[int]], of_sequence: Integers, length: int, num_labels: int
) -> tuple[Integers, Integers]:
    """Return the subsequences that two clips have, or all single codes, and clips (labels, subsequences)."""
    packed = [np.unique(_packed(np.asarray(codes, np.int64), length)) for codes in sequences]
    flat = np.concatenate(packed)
    clip = np.repeat(np.arange(len(packed)), [len(grams) for grams in packed])
    grams, number, total = np.unique(flat, return_inverse=True, return_counts=True)
    is_shared = total >= (1 if length == 1 else 2)
    place = np.cumsum(is_shared) - 1
    within = is_shared[number]
    cells = of_sequence[clip[within]] * int(is_shared.sum()) + place[number[within]]
    clips = np.bincount(cells, minlength=num_labels * int(is_shared.sum()))
    return grams[is_shared], clips.reshape(num_labels, -1)


def _packed(codes: Integers, length: int) -> Integers:
    """Return each subsequence as one number."""
    last = len(codes) - length + 1
    packed = np.zeros(max(last, 0), np.int64)
    for place in range(length if last > 0 else 0):
        packed = packed << CODE_BITS | codes[place : place + last]
    return packed


def _codes(packed: int, length: int) -> tuple[int, ...]:
    return tuple(packed >> CODE_BITS * (length - 1 - place) & (1 << CODE_BITS) - 1 for place in range(length))


def _is_kept(clips: Integers, sizes: Integers, length: int) -> npt.NDArray[np.bool_]:
    """Return which subsequences are kept: those of the greatest weight of some label."""
    if length == 1:
        return np.ones(clips.shape[1], bool)
    kept = np.zeros(clips.shape[1], bool)
    elsewhere, others = clips.sum(axis=0) - clips, sizes.sum() - sizes[:, None]
    times = (clips + 0.5) / (sizes[:, None] + 1) / ((elsewhere + 0.5) / (others + 1))
    weights = clips / np.maximum(sizes[:, None], 1) * np.log(times)
    weights[clips < np.maximum(2, LEAST_SHARE * sizes[:, None])] = -np.inf
    for of_label in weights:
        best = np.argsort(-of_label, kind="stable")[:MOST]
        kept[best[np.isfinite(of_label[best])]] = True
    return kept
