import numpy as np
import pytest

from core.in_context.baselines import FloatArray
from core.in_context.vector_labelers import ClassMeanLabeler, LogisticLabeler

LABELS = ("cat", "dog", "rain")
LABELERS = (ClassMeanLabeler, LogisticLabeler)


def _shown(shots: int, seed: int = 0) -> tuple[list[str], FloatArray, FloatArray]:
    """Labels and vectors of demonstrations around a direction for each label, and these directions."""
    rng = np.random.default_rng(seed)
    directions = rng.standard_normal((len(LABELS), 32))
    shown = [label for label in LABELS for _ in range(shots)]
    vectors = np.repeat(directions, shots, axis=0) + 0.3 * rng.standard_normal((len(shown), 32))
    return shown, vectors, directions


@pytest.mark.parametrize("labeler", LABELERS)
@pytest.mark.parametrize("shots", [1, 3])
def test_a_query_gets_the_label_of_its_direction_however_loud(labeler: type, shots: int) -> None:
    shown, vectors, directions = _shown(shots)
    for scale in (0.01, 1.0, 100.0):
        probabilities = labeler(LABELS, shown, vectors).probabilities(scale * directions)
        assert probabilities.argmax(axis=1).tolist() == [0, 1, 2]
        np.testing.assert_allclose(probabilities.sum(axis=1), 1)


@pytest.mark.parametrize("labeler", LABELERS)
def test_a_query_is_answered_alike_alone_and_among_others(labeler: type) -> None:
    shown, vectors, _ = _shown(3)
    one = labeler(LABELS, shown, vectors)
    queries = np.random.default_rng(1).standard_normal((50, 32))
    together = one.probabilities(queries)
    alone = np.concatenate([one.probabilities(queries[at : at + 1]) for at in range(50)])
    np.testing.assert_array_equal(together, alone)


@pytest.mark.parametrize("labeler", LABELERS)
def test_the_order_of_demonstrations_does_not_matter(labeler: type) -> None:
    shown, vectors, directions = _shown(3)
    order = np.random.default_rng(2).permutation(len(shown))
    mixed = labeler(LABELS, [shown[at] for at in order], vectors[order])
    straight = labeler(LABELS, shown, vectors)
    np.testing.assert_allclose(mixed.probabilities(directions), straight.probabilities(directions), atol=1e-4)


@pytest.mark.parametrize("labeler", LABELERS)
def test_a_vector_of_zeros_is_like_nothing(labeler: type) -> None:
    shown, vectors, _ = _shown(1)
    probabilities = labeler(LABELS, shown, vectors).probabilities(np.zeros((1, 32)))
    np.testing.assert_allclose(probabilities, 1 / 3)


def test_a_class_mean_weighs_each_demonstration_alike_however_loud() -> None:
    quiet, loud, other = np.eye(3)
    labeler = ClassMeanLabeler(("a", "b"), ["a", "a", "b"], np.stack([quiet, 100 * loud, other]))
    (first, second) = labeler.probabilities(np.stack([quiet, loud]))
    np.testing.assert_allclose(first, second)
