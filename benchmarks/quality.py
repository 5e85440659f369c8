"""Quality of few-shot labeling on recorded clips that no model here was trained on.

`python -m benchmarks.quality [EPISODES [LLAMA]]` prints a table and a JSON line: the answers of the labeler
that the product chooses for each episode (`auto`, by the rule of core.in_context.choosing, without the LLM),
and of a LLaMA directory, such as a training's OUT/llama, or of the LLM that WORDWAVE_LLM names. All single
labelers and a control with shuffled demonstration labels answer the same episodes, and the paper's figures
stand beside. So do labelers on the embeddings of the models that WORDWAVE_EMBEDDINGS names.
WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from statistics import mean

import torch

from benchmarks.auto_labeler import AutoLabeler, OtherClips, ask_other_clips, zero_shot
from benchmarks.recorded import data_root, labeled_clips, verdict
from core.evaluation.episodes import LabeledClips
from core.evaluation.experiment import SHUFFLED, Experiment, MethodFactory, always, few_shot
from core.evaluation.layouts import Column
from core.evaluation.measure import Score, lead
from core.evaluation.tables import cell
from core.prompts.few_shot import FewShotSettings
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime

EPISODES = 600
SEED = 2026
ORDERS = 4
CONTROL = 5.0
"""Points that shuffled labels may lie from chance."""


@dataclass(frozen=True)
class Row:
    """`bar` and `paper` in percent. The paper's rows are LLAMA 2 7B with its own codec on other clips."""

    name: str
    set: str
    column: Column
    bar: float | None
    paper: str
    tagger_bar: float | None = None
    """What `auto` should reach with a tagger installed."""
    two_models_bar: float | None = None
    """What `auto` should reach with another embedding beside it."""


ROWS = (
    Row("sound events 2-way 1-shot", "sound_events", Column(2, 1), 73, "60 (73 with 3 repeats)", 95),
    Row("sound events 2-way 3-shot", "sound_events", Column(2, 3), 78, "57", 97),
    Row("sound events 3-way 1-shot", "sound_events", Column(3, 1), 60, "41 (50 with 3 repeats)", 94),
    Row("sound events 5-way 3-shot", "sound_events", Column(5, 3), 56, "-", 91),
    Row("animals 2-way 3-shot", "animals", Column(2, 3), 66, "-"),
    Row("emotion 2-way 1-shot", "emotion", Column(2, 1), 66, "53", two_models_bar=70),
    Row("animals 5-way 3-shot", "animals", Column(5, 3), None, "-", 85),
)
FIRST_ROWS = 6
"""Rows over which means are taken: those that were asked before there were embeddings."""

ZERO_SHOT_BARS = {"sound_events": 93.0}
"""By set: what a tagger should reach without demonstrations, among all labels of the set."""

AUTO, AUTO_WITHOUT = "auto", "auto without models"
BEST_ON_DEV = "logistic latents"
"""The single labeler without a model that `benchmarks.dev_prior` finds best on the dev sets."""

MAX_CALIBRATION_ERROR, SHOTS_FOR_CALIBRATION = 0.06, 3
LEAST_KEPT, LEAST_REJECTED = 88.0, 60.0
"""Percent of known clips that a bound of 90 % should keep, of unknown ones that a tagger should reject."""

DIFFERENCES = """\
Data: the paper asks ESC-50 and ESD (English), clips cut to 1 second; it does not say in how many episodes.
Here sound events are 73 clips of 10 ESC-50 classes (5 s), animals 83 readable clips of 10 classes (web
recordings), emotion 100 clips of 7 feelings (EmoDB, German, 2 s). No demonstration is of the query's group
(freesound session, speaker); the animals have no such groups, there only the query itself is never shown."""


def measure(
    rows: tuple[Row, ...], clips: LabeledClips, models: dict[str, MethodFactory], count: int
) -> Experiment:
    """Ask every way to answer the episodes of all rows of a set."""
    experiment = Experiment(clips, [row.column for row in rows], models, count=count, seed=SEED)
    for part in experiment.parts():
        experiment.ask(part)
    return experiment


def report(
    row: Row, scores: dict[str, Score], answering: tuple[str, ...], installed: tuple[str, ...] = ()
) -> Iterator[str]:
    """Yield the lines of a row: percent, both intervals, calibration error; then its bars."""
    chance = 100 / row.column.n_way
    yield f"{row.name}: bar {row.bar or '-'}, paper {row.paper}, chance {chance:.0f}"
    yield from (f"  {name:<37}{cell(one)}" for name, one in scores.items())
    controls = {f"{name}, {SHUFFLED}" for name in answering}
    others = controls | {*answering, *installed}
    free = {name: one.accuracy for name, one in scores.items() if name not in others}
    best = max(free, key=lambda name: free[name])
    for name in answering:
        reached = 100 * scores[name].accuracy
        off = abs(100 * scores[f"{name}, {SHUFFLED}"].accuracy - chance)
        if row.bar:
            yield f"  {name}: {reached:.1f} of {row.bar:g} {verdict(reached >= row.bar)}"
        yield f"  {name}: shuffled labels {off:.1f} from chance {verdict(off <= CONTROL)}"
        yield f"  {name}: above {best} ({100 * free[best]:.1f}) {verdict(reached > 100 * free[best])}"


def report_auto(row: Row, at: int, experiment: Experiment, asked: Mapping[str, OtherClips]) -> Iterator[str]:
    """Yield the bars of what the product chooses: accuracy, lead, calibration and unknown clips."""
    models = len(experiment.clips.embeddings)
    for bar in (row.tagger_bar if models else None, row.two_models_bar if models > 1 else None):
        if bar:
            reached = 100 * _accuracy(experiment, AUTO, at)
            yield f"  {AUTO} with models: {reached:.1f} of {bar:g} {verdict(reached >= bar)}"
    free, best = (experiment.rows[name][at] for name in (_without_models(experiment), BEST_ON_DEV))
    low, high = lead(experiment.replies(free), experiment.replies(best), experiment.episodes(free))
    yield (
        f"  {free.row}: lead over {BEST_ON_DEV} {100 * low:+.1f} to {100 * high:+.1f} points, not below "
        f"{verdict(high >= 0)}"
    )
    for name, others in asked.items():
        yield from _report_others(row, name, others, with_models=models > 0 and name == AUTO)


def _report_others(row: Row, name: str, others: OtherClips, *, with_models: bool) -> Iterator[str]:
    error, kept, rejected = others.calibration_error, others.known_kept, others.unknown_rejected
    judged = row.column.k_shot >= SHOTS_FOR_CALIBRATION
    bar = f" {verdict(error < MAX_CALIBRATION_ERROR)}" if judged else ""
    yield f"  {name}: calibration error {error:.3f} in {len(others.right)} answers{bar}"
    yield f"  {name}: known clips kept {kept.percent} {verdict(100 * kept.mean >= LEAST_KEPT)}"
    bar = f" {verdict(100 * rejected.mean >= LEAST_REJECTED)}" if with_models else ""
    yield f"  {name}: unknown clips rejected {rejected.percent}{bar}"
    chosen = Counter(others.chosen).most_common()
    yield f"  {name} chose " + ", ".join(f"{labeler} {count} times" for labeler, count in chosen)


def report_zero_shot(set_name: str, clips: LabeledClips) -> Iterator[str]:
    """Yield a line for each tagger: clips named among all labels of a set without a demonstration."""
    bar = ZERO_SHOT_BARS.get(set_name)
    for tagger, share in zero_shot(clips).items():
        judged = f" of {bar:g} {verdict(100 * share.mean >= bar)}" if bar else ""
        yield f"{set_name} {len(set(clips.labels))}-way zero-shot, {tagger}: {share.percent}{judged}"


def report_means(figures: Mapping[str, Mapping[str, Score]]) -> Iterator[str]:
    """Yield the mean accuracy of each method over the first rows."""
    rows = [figures[row.name] for row in ROWS[:FIRST_ROWS]]
    means = {
        name: 100 * mean(row[name].accuracy for row in rows)
        for name in rows[0]
        if all(name in r for r in rows)
    }
    yield f"mean over {FIRST_ROWS} rows"
    yield from (f"  {name:<37}{value:.1f}" for name, value in sorted(means.items(), key=lambda one: -one[1]))
    free = AUTO_WITHOUT if AUTO_WITHOUT in means else AUTO
    above = means[free] > means[BEST_ON_DEV]
    yield f"  {free}: {means[free]:.1f}, above {BEST_ON_DEV} ({means[BEST_ON_DEV]:.1f}) {verdict(above)}"


def auto_labelers(clips: LabeledClips) -> dict[str, AutoLabeler]:
    """Return what the product chooses with what is installed and, if something is, without it."""
    autos = {AUTO: AutoLabeler(with_models=True)}
    return autos | ({AUTO_WITHOUT: AutoLabeler(with_models=False)} if clips.embeddings else {})


def _without_models(experiment: Experiment) -> str:
    return AUTO_WITHOUT if AUTO_WITHOUT in experiment.rows else AUTO


def _accuracy(experiment: Experiment, name: str, at: int) -> float:
    measured = experiment.scores()[name][at]
    return measured.accuracy if measured else 0.0


def language_models(runtime: Runtime) -> dict[str, MethodFactory]:
    """Return the ways to ask the LLM of the settings; nothing where none is set."""
    if (llm := runtime.llm) is None:
        print("No LLM is set: only the chosen labeler is asked, and the shuffled control is its.")
        return {}
    kinds = {"LLaMA": FewShotSettings(orders=1), f"LLaMA, {ORDERS} orders": FewShotSettings(orders=ORDERS)}
    return {name: few_shot(llm.llama, llm.vocabulary, settings) for name, settings in kinds.items()}


def main(count: int, settings: Settings) -> None:
    """Print the table and the JSON line."""
    torch.set_num_threads(1)
    root, runtime = data_root(), Runtime(settings)
    models = language_models(runtime)
    started = time.monotonic()
    scored: dict[str, dict[str, Score]] = {}
    figures: dict[str, dict[str, object]] = {}
    for name in dict.fromkeys(row.set for row in ROWS):
        rows = tuple(row for row in ROWS if row.set == name)
        clips = labeled_clips(root, name, runtime.codec, embedders=runtime.embedders)
        autos = auto_labelers(clips)
        answering: dict[str, MethodFactory] = {auto: always(method) for auto, method in autos.items()}
        experiment = measure(rows, clips, answering | models, count)
        scores = experiment.scores()
        for at, row in enumerate(rows):
            one = {method: row_scores[at] for method, row_scores in scores.items()}
            measured = {method: score for method, score in one.items() if score}
            episodes = experiment.episodes(experiment.rows[AUTO][at])
            asked = {auto: ask_other_clips(method, clips, episodes) for auto, method in autos.items()}
            lines = report(row, measured, experiment.answering, experiment.installed)
            print("\n".join([*lines, *report_auto(row, at, experiment, asked)]), flush=True)
            scored[row.name] = measured
            figures[row.name] = {"bar": row.bar} | {method: asdict(s) for method, s in measured.items()}
        print("\n".join(report_zero_shot(name, clips)), flush=True)
    print("\n".join([*report_means(scored), DIFFERENCES]))
    embeddings = {one.description.name: one.fingerprint for one in runtime.embedders}
    used = {
        "embeddings": embeddings,
        "codec": runtime.codec.fingerprint,
        "llama": runtime.llm.fingerprint if runtime.llm else None,
    }
    seconds = round(time.monotonic() - started)
    print(json.dumps({"benchmark": "quality", "seconds": seconds, **used, "rows": figures}))


if __name__ == "__main__":
    main(
        int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES,
        Settings(llm=sys.argv[2]) if len(sys.argv) > 2 else Settings(),
    )
