"""Methods of taking out noise beside each other: none, in context, the denoiser, and what `auto` takes.

`auto` decides for each speaker by pairs of other speakers, as a library of such pairs would let it.
`python -m benchmarks.denoising_methods` prints a table for read speech and one for digits, with their bars,
and a JSON line. The models are those of the settings. WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch

from benchmarks.audio_answers import Models
from benchmarks.denoised import FILTERED, INPUT, OURS, Measured, measure_denoising
from benchmarks.means import Mean, mean_of
from benchmarks.reconstruction import has_pesq
from benchmarks.recorded import data_root, verdict
from db.denoising_measures import PairMeasure
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.measures.denoising import MAX_PAIRS
from flows.pipeline.generation.methods import NOISY, UNCHANGED, choose
from flows.pipeline.runtime.resources import Runtime

KINDS = {NOISY: INPUT, "in-context": OURS, "deepfilter": FILTERED}
AUTO = "auto"
MEASURES = ("STOI", "PESQ", "SI-SDR")
READ_SPEECH, DIGITS = "read speech", "digits at 8 kHz"
BARS = {"STOI": 0.04, "PESQ": 0.6}
"""What `auto` should gain on the noisy clips of read speech."""
NOTE = """\
Read speech is of speakers that no shipped model learned from, and 3 recorded pairs; digits are those of all
speakers, some of which the LLM learned from. DeepFilterNet3 was trained by its authors on other read speech.
Intervals are of 95 %, the first over clean clips, the second over speakers."""


@dataclass(frozen=True)
class MethodMean:
    """A mean with its intervals over clean clips and over speakers."""

    over_clips: Mean
    over_speakers: Mean

    def __str__(self) -> str:
        low, high = self.over_speakers.interval
        return f"{self.over_clips} [{low:.3f}, {high:.3f}]"


@dataclass(frozen=True)
class Methods:
    """Of one set: means by method and measure, and what `auto` gained on the noisy clips by measure."""

    means: Mapping[str, Mapping[str, MethodMean]]
    gains: Mapping[str, MethodMean]
    chosen: Mapping[str, int]


def compare_sets(clips: Sequence[Measured]) -> dict[str, Methods]:
    """Return the methods on read speech that the LLM never learned from, and on digits."""
    return {
        READ_SPEECH: compare([one for one in clips if not one.is_digit and one.held_out]),
        DIGITS: compare([one for one in clips if one.is_digit]),
    }


def compare(clips: Sequence[Measured]) -> Methods:
    """Return the means of all methods that were measured."""
    chosen = [_chosen(one, clips) for one in clips]
    made = {name: kind for name, kind in KINDS.items() if all(kind in one.measures for one in clips)}
    by_method = {name: [one.measures[kind] for one in clips] for name, kind in made.items()}
    by_method[AUTO] = [one.measures[KINDS[name]] for one, name in zip(clips, chosen, strict=True)]
    means = {method: _means(clips, rows) for method, rows in by_method.items()}
    gains = {measure: _gain(clips, by_method[AUTO], by_method[NOISY], measure) for measure in means[AUTO]}
    return Methods(means, gains, {name: chosen.count(name) for name in sorted(set(chosen))})


def _means(clips: Sequence[Measured], rows: Sequence[Mapping[str, float | None]]) -> dict[str, MethodMean]:
    means = {measure: _mean(clips, [row[measure] for row in rows]) for measure in MEASURES}
    return {measure: mean for measure, mean in means.items() if mean is not None}


def _chosen(clip: Measured, clips: Sequence[Measured]) -> str:
    """Return the method that pairs of other speakers would let `auto` take, `noisy` for unchanged."""
    others = [one for one in clips if one.speaker != clip.speaker][:MAX_PAIRS]
    measures = [
        _pair_measure(number, name, one.measures[kind])
        for number, one in enumerate(others)
        for name, kind in KINDS.items()
        if kind in one.measures
    ]
    method = choose("other speakers", measures).method
    return NOISY if method == UNCHANGED else method


def _pair_measure(number: int, method: str, row: Mapping[str, float | None]) -> PairMeasure:
    assert row["SI-SDR"] is not None
    return PairMeasure(str(number).encode(), method, method, row["STOI"], row["SI-SDR"])


def _gain(
    clips: Sequence[Measured],
    auto: Sequence[Mapping[str, float | None]],
    noisy: Sequence[Mapping[str, float | None]],
    measure: str,
) -> MethodMean:
    rows = [(one[measure], other[measure]) for one, other in zip(auto, noisy, strict=True)]
    gained = _mean(clips, [None if None in row else row[0] - row[1] for row in rows])  # type: ignore[operator]
    assert gained
    return gained


def _mean(clips: Sequence[Measured], values: Sequence[float | None]) -> MethodMean | None:
    kept = [(clip, value) for clip, value in zip(clips, values, strict=True) if value is not None]
    if not kept:
        return None
    numbers = [value for _, value in kept]
    return MethodMean(
        mean_of(numbers, _numbered([clip.clean_sha256 for clip, _ in kept])),
        mean_of(numbers, _numbered([clip.speaker for clip, _ in kept])),
    )


def _numbered(names: Sequence[str]) -> list[int]:
    known = sorted(set(names))
    return [known.index(name) for name in names]


def comparison_lines(sets: Mapping[str, Methods]) -> Iterator[str]:
    """Yield the tables of both sets and the bars."""
    for name, methods in sets.items():
        yield from method_lines(name, methods)
    yield from bar_lines(sets[READ_SPEECH], sets[DIGITS])


def method_lines(name: str, methods: Methods) -> Iterator[str]:
    """Yield the table of a set."""
    taken = ", ".join(f"{method} for {count}" for method, count in methods.chosen.items())
    yield f"Denoising of {name}: {AUTO} takes {taken} of {sum(methods.chosen.values())} clips"
    for method, measures in methods.means.items():
        yield from (f"  {method:<12}{measure:<8}{mean}" for measure, mean in measures.items())
    if "deepfilter" not in methods.means:
        yield "  deepfilter was not measured: pip install 'wordwave[denoise]'"


def bar_lines(read_speech: Methods, digits: Methods) -> Iterator[str]:
    """Yield each bar with what was measured."""
    for measure, bar in BARS.items():
        if gained := read_speech.gains.get(measure):
            reached = verdict(gained.over_clips.mean >= bar)
            yield f"  {READ_SPEECH}: {measure} gained by {AUTO} {gained} of {bar:g} {reached}"
    for measure, gained in digits.gains.items():
        is_no_loss = verdict(gained.over_clips.interval[1] >= 0)
        yield f"  {DIGITS}: {measure} gained by {AUTO} {gained}, no loss beyond its interval {is_no_loss}"


def main() -> None:
    """Print the tables, the bars and the JSON line."""
    torch.set_num_threads(1)
    runtime = Runtime(Settings())
    sets = compare_sets(measure_denoising(Models.of(runtime), data_root()))
    print("\n".join(comparison_lines(sets)))
    print(NOTE if has_pesq() else f"{NOTE}\nPESQ was not measured: pip install pesq (needs a C compiler)")
    denoiser = runtime.denoiser and runtime.denoiser.fingerprint
    figures = {name: asdict(methods) for name, methods in sets.items()}
    print(json.dumps({"benchmark": "denoising_methods", "denoiser": denoiser, **figures}))


if __name__ == "__main__":
    main()
