"""The method that helps by both measures answers, and where none does, clips stay as they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.denoising_measures import PairMeasure
from flows.pipeline.generation.methods import NOISY, UNCHANGED, choose

MEASURES = st.lists(
    st.builds(
        PairMeasure,
        st.sampled_from([b"1", b"2", b"3"]),
        st.sampled_from([NOISY, "deepfilter", "in-context"]),
        st.just("f"),
        st.none() | st.floats(0, 1),
        st.floats(-100, 100),
    )
)


def pair(method: str, stoi: float | None, si_sdr: float, content: bytes = b"1") -> PairMeasure:
    return PairMeasure(content, method, "f", stoi, si_sdr)


@pytest.mark.parametrize(
    ("deepfilter", "in_context", "method"),
    [
        ((0.9, 9.0), (0.85, 6.0), "deepfilter"),
        ((0.85, 9.0), (0.9, 6.0), "in-context"),
        ((0.9, 4.0), (0.85, 6.0), "in-context"),
        ((0.9, 4.0), (0.7, 6.0), UNCHANGED),
        ((0.8, 5.0), (0.8, 5.0), UNCHANGED),
        ((None, 6.0), (0.7, -5.0), "deepfilter"),
    ],
)
def test_the_better_of_the_methods_that_help_answers(
    deepfilter: tuple[float | None, float], in_context: tuple[float | None, float], method: str
) -> None:
    measures = [pair(NOISY, 0.8, 5.0), pair("deepfilter", *deepfilter), pair("in-context", *in_context)]
    found = choose("street@1", measures)
    assert found.method == method
    assert "SI-SDR 5.0 dB" in found.reason
    assert "1 pairs of street@1" in found.reason


def test_a_method_is_compared_on_the_pairs_that_it_was_measured_on() -> None:
    easy = [pair(NOISY, 0.9, 20.0, b"2")]
    measures = [
        pair(NOISY, 0.5, 0.0),
        *easy,
        pair("deepfilter", 0.6, 1.0),
        pair("in-context", 0.8, 9.0, b"2"),
    ]
    assert choose("street@1", measures).method == "deepfilter"


@pytest.mark.parametrize("measures", [[], [pair(NOISY, 0.8, 5.0)], [pair("deepfilter", 0.8, 5.0)]])
def test_without_measures_clips_stay_as_they_are(measures: list[PairMeasure]) -> None:
    found = choose("street@1", measures)
    assert (found.method, "no method could be measured" in found.reason) == (UNCHANGED, True)


@given(MEASURES)
def test_a_chosen_method_has_a_higher_si_sdr_than_the_noisy_clips(measures: list[PairMeasure]) -> None:
    newest = {(one.content_sha256, one.method): one for one in measures}
    method = choose("street@1", measures).method
    if method != UNCHANGED:
        common = [c for c in (b"1", b"2", b"3") if (c, method) in newest and (c, NOISY) in newest]
        gained = [newest[c, method].si_sdr - newest[c, NOISY].si_sdr for c in common]
        assert sum(gained) > 0
