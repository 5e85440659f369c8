import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.in_context.choosing.labelers import Representation
from core.in_context.choosing.unknown import MIN_DISTANCES, fit_unknown, nearest_distances
from tests.core.made_libraries import make_clip, make_library

TAGGER = Representation("tagger", ("tagger",))
LABELS = ("bell", "dog", "rain")


@pytest.mark.parametrize("coverage", [0.7, 0.9])
def test_new_clips_of_known_labels_are_kept_as_often_as_the_coverage_says(coverage: float) -> None:
    kept = []
    for first in range(0, 500, 50):
        library = make_library(LABELS, 20, first=first)
        bound = fit_unknown(TAGGER, library, coverage)
        assert bound.left_out == 60
        queries = [make_clip(label, seed) for label in range(3) for seed in range(1000, 1050)]
        kept.append(1 - bound.are_unknown(library, queries).mean())
    assert np.mean(kept) == pytest.approx(coverage, abs=0.05)


@pytest.mark.parametrize("shots", [1, 3, 4])
def test_clips_of_other_labels_are_unknown(shots: int) -> None:
    library = make_library(LABELS, shots, tagger=0.05)
    bound = fit_unknown(TAGGER, library, by_tagger=True)
    assert (bound.left_out > 0) == (3 * shots >= MIN_DISTANCES)
    assert bound.are_unknown(library, [make_clip(label, 7, tagger=0.03) for label in (5, 6, 7)]).all()
    assert not bound.are_unknown(library, [make_clip(label, 7, tagger=0.03) for label in range(3)]).any()


@settings(max_examples=30, deadline=None)
@given(low=st.floats(0.05, 0.95), high=st.floats(0.05, 0.95), shots=st.sampled_from([1, 2, 5]))
def test_a_higher_coverage_never_rejects_more(low: float, high: float, shots: int) -> None:
    library = make_library(LABELS, shots)
    least, most = (fit_unknown(TAGGER, library, coverage).distance for coverage in sorted((low, high)))
    assert least <= most


def test_a_clip_has_the_same_distance_alone_and_among_others() -> None:
    library, queries = make_library(LABELS, 3), [make_clip(label, 9) for label in range(6)]
    together = nearest_distances(TAGGER, library, queries)
    alone = np.concatenate([nearest_distances(TAGGER, library, [query]) for query in queries])
    assert np.array_equal(together, alone)
    assert not len(nearest_distances(TAGGER, library, []))


@pytest.mark.parametrize("coverage", [0.0, 1.0, -1.0])
def test_a_coverage_is_a_share(coverage: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        fit_unknown(TAGGER, make_library(LABELS, 2), coverage)
