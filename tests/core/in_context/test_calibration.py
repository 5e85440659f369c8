import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.evaluation.metrics import expected_calibration_error
from core.in_context.baselines import FloatArray, softmax
from core.in_context.calibration import (
    TEMPERATURE_BOUNDS,
    Calibration,
    apply_temperature,
    fit_calibration,
    fit_temperature,
)


def answers_at(temperature: float, seed: int, count: int = 4000) -> tuple[FloatArray, list[int]]:
    """Draw probabilities that are calibrated at this temperature, and labels from the calibrated ones."""
    generator = np.random.default_rng(seed)
    honest = generator.dirichlet(np.ones(4), size=count)
    gold = [int(generator.choice(4, p=row)) for row in honest]
    return apply_temperature(honest, 1 / temperature), gold


@pytest.mark.parametrize("temperature", [0.4, 1.0, 3.0])
def test_the_fit_finds_the_temperature_that_answers_were_made_with(temperature: float) -> None:
    probabilities, gold = answers_at(temperature, seed=1)
    assert fit_temperature(probabilities, gold) == pytest.approx(temperature, rel=0.1)


@pytest.mark.parametrize("temperature", [0.4, 3.0])
def test_a_fit_on_some_answers_calibrates_others(temperature: float) -> None:
    fitted = fit_temperature(*answers_at(temperature, seed=1))
    probabilities, gold = answers_at(temperature, seed=2)
    errors = [
        expected_calibration_error(some.max(axis=1).tolist(), (some.argmax(axis=1) == gold).tolist())
        for some in (probabilities, apply_temperature(probabilities, fitted))
    ]
    assert errors[1] < 0.03 < errors[0]


@given(seed=st.integers(0, 10**6), temperature=st.floats(*TEMPERATURE_BOUNDS))
def test_calibration_keeps_the_order_and_the_sum(seed: int, temperature: float) -> None:
    probabilities = np.random.default_rng(seed).dirichlet(np.ones(4), size=5)
    calibrated = apply_temperature(probabilities, temperature)
    np.testing.assert_allclose(calibrated.sum(axis=1), 1)
    assert np.array_equal(calibrated.argmax(axis=1), probabilities.argmax(axis=1))


def test_answers_that_are_all_right_or_all_wrong_give_a_bounded_temperature() -> None:
    certain = np.array([[0.9, 0.1]] * 3)
    assert fit_temperature(certain, [0, 0, 0]) == pytest.approx(TEMPERATURE_BOUNDS[0])
    assert fit_temperature(certain, [1, 1, 1]) == pytest.approx(TEMPERATURE_BOUNDS[1])
    assert np.isfinite(apply_temperature(np.array([[1.0, 0.0]]), TEMPERATURE_BOUNDS[0])).all()


def test_without_answers_there_is_nothing_to_fit() -> None:
    with pytest.raises(ValueError, match="cannot be fitted"):
        fit_temperature(np.empty((0, 3)), [])


def test_a_few_answers_leave_the_temperature_near_the_prior_and_many_do_not() -> None:
    probabilities, gold = answers_at(0.4, seed=3)
    few, many = (fit_calibration(probabilities[:n], gold[:n], 2.0).temperature for n in (3, 4000))
    assert 0.36 < many < 0.44 < few < 2.0
    assert fit_calibration(probabilities[:0], [], 2.0) == Calibration(2.0)


def test_answers_that_are_all_right_say_less_with_a_prior() -> None:
    certain = np.array([[0.9, 0.1]] * 3)
    assert 0.3 < fit_temperature(certain, [0, 0, 0], prior=1.0) < 1.0


def test_biases_are_fitted_where_every_label_has_enough_answers() -> None:
    honest, gold = answers_at(1.0, seed=4)
    tilted = softmax(np.log(honest) + np.array([1.0, 0.0, 0.0, -1.0]))
    fitted = fit_calibration(tilted, gold, 1.0)
    assert fitted.bias[0] < min(fitted.bias[1:3]) <= max(fitted.bias[1:3]) < fitted.bias[3]
    errors = [np.abs(one.mean(axis=0) - honest.mean(axis=0)).max() for one in (tilted, fitted.apply(tilted))]
    assert errors[1] < errors[0] / 2
    assert fit_calibration(tilted[:30], gold[:30], 1.0).bias == ()


@given(seed=st.integers(0, 10**6), count=st.integers(1, 60))
def test_a_fitted_calibration_gives_probabilities(seed: int, count: int) -> None:
    generator = np.random.default_rng(seed)
    probabilities = generator.dirichlet(np.ones(3), size=count)
    calibrated = fit_calibration(probabilities, generator.integers(0, 3, count).tolist(), 1.0)
    np.testing.assert_allclose(calibrated.apply(probabilities).sum(axis=1), 1)
