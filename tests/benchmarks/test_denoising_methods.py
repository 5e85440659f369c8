"""`auto` is measured by the method that pairs of other speakers choose, and its bars by the noisy clips."""

from benchmarks.denoised import FILTERED, INPUT, OURS, Measured
from benchmarks.denoising_methods import DIGITS, READ_SPEECH, compare_sets, comparison_lines

Row = tuple[float, float | None, float]


def measured(speaker: str, noisy: Row, filtered: Row | None, *, is_digit: bool = False) -> Measured:
    rows = {INPUT: noisy, OURS: (0.5, 1.1, -9.0)} | ({FILTERED: filtered} if filtered else {})
    measures = {kind: dict(zip(("STOI", "PESQ", "SI-SDR"), row, strict=True)) for kind, row in rows.items()}
    return Measured(5.0, f"{speaker} {noisy}", speaker, True, is_digit, measures, (), ())


def clips(filtered: Row | None, digit: Row | None) -> list[Measured]:
    noisy, quiet = (0.8, 1.5, 5.0), (0.9, None, 8.0)
    speech = [measured(speaker, noisy, filtered) for speaker in "abc"]
    return speech + [measured(f"digit {name}", quiet, digit, is_digit=True) for name in "abc"]


def test_auto_takes_what_helps_and_leaves_the_rest_as_it_is() -> None:
    sets = compare_sets(clips((0.9, 2.5, 9.0), (0.85, None, 9.0)))
    assert sets[READ_SPEECH].chosen == {"deepfilter": 3}
    assert sets[DIGITS].chosen == {"noisy": 3}
    assert sets[READ_SPEECH].gains["STOI"].over_clips.mean > 0.09
    assert sets[DIGITS].gains["SI-SDR"].over_clips.mean == 0
    lines = "\n".join(comparison_lines(sets))
    assert lines.count(" reached") == 4
    assert "NOT REACHED" not in lines
    assert "deepfilter for 3 of 3 clips" in lines


def test_a_speakers_own_clips_do_not_choose_for_them() -> None:
    other = [measured("d", (0.8, 1.5, 5.0), (0.7, 1.4, 3.0))]
    speech = [measured("a", (0.8, 1.5, 5.0), (0.99, 4.0, 20.0))]
    found = compare_sets([*speech, *other, *clips(None, None)[3:]])[READ_SPEECH]
    assert found.means["auto"]["STOI"].over_clips.mean < found.means["deepfilter"]["STOI"].over_clips.mean


def test_a_denoiser_that_is_missing_is_told_in_a_line() -> None:
    lines = "\n".join(comparison_lines(compare_sets(clips(None, None))))
    assert "deepfilter was not measured: pip install 'wordwave[denoise]'" in lines
    assert "STOI gained by auto  0.000 [0.000, 0.000]" in lines
    assert "NOT REACHED" in lines
