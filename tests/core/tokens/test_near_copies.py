"""Near copies share a key, and other sequences do not."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from core.tokens.near_copies import KEYS, near_copy_keys

SEQUENCES = st.lists(st.lists(st.integers(0, 2**15 - 1), min_size=1, max_size=30), min_size=1, max_size=8)


@given(SEQUENCES)
def test_keys_do_not_depend_on_the_batch(sequences: list[list[int]]) -> None:
    together = near_copy_keys(sequences)
    assert together.shape == (len(sequences), KEYS)
    for keys, codes in zip(together, sequences, strict=True):
        assert (near_copy_keys([codes])[0] == keys).all()


def test_keys_are_the_same_in_every_version() -> None:
    assert near_copy_keys([[1, 2, 3, 2, 1]])[0, :2].tolist() == [8193396618111227968, 5662125754944696593]


def test_near_copies_share_a_key_as_often_as_promised_and_others_do_not() -> None:
    rng = np.random.default_rng(0)
    originals = rng.integers(0, 500, (400, 80))
    copies = originals.copy()
    copies[:, 40] = 501  # 77 of 81 pairs are shared: 95 %
    keys, others = near_copy_keys(originals.tolist()), near_copy_keys(copies.tolist())
    assert (keys == others).any(axis=1).mean() > 0.97
    assert not (keys == np.roll(others, 1, axis=0)).any()
