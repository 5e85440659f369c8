"""Motifs are counted as a naive reading counts them."""

from hypothesis import given, settings
from hypothesis import strategies as st

from core.tokens.motifs import LONGEST, count_motifs

SEQUENCES = st.lists(
    st.tuples(st.sampled_from(["dog", "cat", "rain"]), st.lists(st.integers(0, 3), min_size=1, max_size=8)),
    min_size=1,
    max_size=12,
)


def naive(labeled: list[tuple[str, list[int]]], codes: tuple[int, ...], label: str, is_label: bool) -> int:
    """Count the sequences of a label, or of all others, that have the codes one after another."""
    among = [have for name, have in labeled if (name == label) == is_label]
    starts = [{tuple(have[at : at + len(codes)]) for at in range(len(have))} for have in among]
    return sum(codes in found for found in starts)


@settings(max_examples=50)
@given(SEQUENCES)
def test_motifs_are_counted_as_read(labeled: list[tuple[str, list[int]]]) -> None:
    motifs = count_motifs([codes for _, codes in labeled], [label for label, _ in labeled])
    for motif in motifs:
        assert motif.clips == naive(labeled, motif.codes, motif.label, True) > 0
        assert motif.elsewhere == naive(labeled, motif.codes, motif.label, False)
    single = {(motif.label, motif.codes) for motif in motifs if len(motif.codes) == 1}
    assert single == {(label, (code,)) for label, codes in labeled for code in codes}
    assert max(len(motif.codes) for motif in motifs) <= LONGEST


def test_what_two_clips_of_a_label_share_is_found_and_what_one_has_is_not() -> None:
    motifs = count_motifs([[1, 2, 3, 4], [9, 1, 2, 3, 4], [1, 2, 7, 8]], ["dog", "dog", "cat"])
    longest = [(one.label, one.codes, one.clips, one.elsewhere) for one in motifs if len(one.codes) > 2]
    assert longest == [("dog", (1, 2, 3), 2, 0), ("dog", (2, 3, 4), 2, 0), ("dog", (1, 2, 3, 4), 2, 0)]
