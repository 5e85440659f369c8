"""Keys that sequences of codes share when they are nearly the same, to find copies among very many.

A sequence is taken as the set of its pairs of neighbors. The smallest hash over such a set is equal for two
sets as often as they overlap (MinHash, Broder 1997). A key is made of ROWS of them, and one equal key of KEYS
is enough: of two sequences that share 90 % of their pairs 97 % have one, of those that share half 2 %.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

KEYS, ROWS = 6, 8
PAIR_BASE = 2**15
"""Codes are below it."""

Keys = npt.NDArray[np.int64]
_Hashes = npt.NDArray[np.uint64]


def near_copy_keys(sequences: Sequence[Sequence[int]]) -> Keys:
    """Return the keys of sequences (sequences, KEYS). They are stored: they must not change."""
    pairs, starts = _pairs(sequences)
    keys = np.zeros((len(sequences), KEYS), np.uint64)
    for key in range(KEYS):
        for row in range(ROWS):
            hashes = _mixed(pairs + np.uint64((key * ROWS + row + 1) * 0x9E3779B97F4A7C15 % 2**64))
            keys[:, key] = _mixed(keys[:, key] ^ np.minimum.reduceat(hashes, starts))
    return keys.view(np.int64)


def _pairs(sequences: Sequence[Sequence[int]]) -> tuple[_Hashes, npt.NDArray[np.int64]]:
    """Return all pairs of neighbors, and where those of each sequence start. One code pairs with itself."""
    longer = [codes if len(codes) > 1 else [*codes, *codes] for codes in sequences]
    flat = np.fromiter((code for codes in longer for code in codes), np.uint64)
    ends = np.cumsum([len(codes) for codes in longer])
    pairs = flat[:-1] * np.uint64(PAIR_BASE) + flat[1:]
    is_within = np.ones(len(pairs), bool)
    is_within[ends[:-1] - 1] = False
    starts = np.concatenate([[0], ends[:-1]]) - np.arange(len(longer))
    return pairs[is_within], starts


def _mixed(numbers: _Hashes) -> _Hashes:
    """Return well spread numbers: the finalizer of splitmix64, modulo 2 ** 64."""
    mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    spread: _Hashes = mixed ^ (mixed >> np.uint64(31))
    return spread
