import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.metrics import accuracy, expected_calibration_error


def test_accuracy_is_the_share_of_right_answers() -> None:
    assert accuracy(["dog", "cat", "dog"], ["dog", "dog", "dog"]) == pytest.approx(2 / 3)


def test_answers_that_keep_their_promise_have_no_calibration_error() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert expected_calibration_error([1.0] * 3, [True] * 3) == 0


def test_the_error_is_the_broken_part_of_the_promise_bin_by_bin() -> None:
    assert expected_calibration_error([0.9] * 4, [True, False, True, False]) == pytest.approx(0.4)
    both = expected_calibration_error([0.9] * 2 + [0.2] * 2, [True, False, True, False])
    assert both == pytest.approx((0.4 + 0.3) / 2)


@given(answers=st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=50))
def test_the_error_lies_between_the_overall_gap_and_one(answers: list[tuple[float, bool]]) -> None:
    confidences, correct = map(list, zip(*answers, strict=True))
    error = expected_calibration_error(confidences, correct)
    assert abs(np.mean(confidences) - np.mean(correct)) - 1e-9 <= error <= 1


@pytest.mark.parametrize(("answers", "gold"), [([], []), (["dog"], ["dog", "cat"])])
def test_nothing_can_be_said_of_no_answers_or_unequal_lists(answers: list[str], gold: list[str]) -> None:
    with pytest.raises(ValueError, match="cannot be judged"):
        accuracy(answers, gold)
    with pytest.raises(ValueError, match="cannot be judged"):
        expected_calibration_error([0.5] * len(answers), [True] * len(gold))
