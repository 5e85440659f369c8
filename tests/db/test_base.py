"""Properties of what the declarative base sends to Postgres."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from db.base import array_text

SINGLE = st.floats(width=32, allow_nan=False, allow_infinity=False)


@given(st.lists(SINGLE))
def test_numbers_of_single_precision_are_named_exactly(numbers: list[float]) -> None:
    said = [float(one) for one in array_text(numbers).strip("{}").split(",") if one]
    assert np.array_equal(np.array(said, np.float32), np.array(numbers, np.float32))


@given(st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_integers_are_sent_with_all_digits(numbers: list[int]) -> None:
    assert array_text(numbers) == f"{{{','.join(map(str, numbers))}}}"


def test_numbers_of_numpy_keep_their_fraction() -> None:
    assert array_text(list(np.array([0.5, 2], np.float32))) == "{0.5,2}"
