"""Quality of few-shot labeling on recorded clips that no model here was trained on.

`python -m benchmarks.quality [EPISODES [LLAMA]]` prints a table and a JSON line: the answers of a LLaMA
directory, such as a training's OUT/llama, or of the LLM that WORDWAVE_LLM names; without one nearest tokens
is what answers. Baselines and a control with shuffled demonstration labels answer the same episodes, and the
paper's figures stand beside. So do labelers on the embeddings of the models that WORDWAVE_EMBEDDINGS names.
WORDWAVE_TEST_DATA names the folder of recorded sets.
"""

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass

import torch

from benchmarks.recorded import data_root, labeled_clips, verdict
from core.evaluation.episodes import LabeledClips
from core.evaluation.experiment import SHUFFLED, Experiment, MethodFactory, few_shot
from core.evaluation.measure import Score
from core.evaluation.paper import Column
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
    bar: float
    paper: str
    tagger_bar: float | None = None
    """What a labeler on the embedding of a tagger should reach."""


ROWS = (
    Row("sound events 2-way 1-shot", "sound_events", Column(2, 1), 73, "60 (73 with 3 repeats)", 95),
    Row("sound events 2-way 3-shot", "sound_events", Column(2, 3), 78, "57", 97),
    Row("sound events 3-way 1-shot", "sound_events", Column(3, 1), 60, "41 (50 with 3 repeats)", 94),
    Row("sound events 5-way 3-shot", "sound_events", Column(5, 3), 56, "-", 91),
    Row("animals 2-way 3-shot", "animals", Column(2, 3), 66, "-"),
    Row("emotion 2-way 1-shot", "emotion", Column(2, 1), 66, "53"),
)

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
    yield f"{row.name}: bar {row.bar:g}, paper {row.paper}, chance {chance:.0f}"
    yield from (f"  {name:<32}{cell(one)}" for name, one in scores.items())
    controls = {f"{name}, {SHUFFLED}" for name in answering}
    others = controls | {*answering, *installed}
    free = {name: one.accuracy for name, one in scores.items() if name not in others}
    best = max(free, key=lambda name: free[name])
    for name in answering:
        reached = 100 * scores[name].accuracy
        off = abs(100 * scores[f"{name}, {SHUFFLED}"].accuracy - chance)
        yield f"  {name}: {reached:.1f} of {row.bar:g} {verdict(reached >= row.bar)}"
        yield f"  {name}: shuffled labels {off:.1f} from chance {verdict(off <= CONTROL)}"
        yield f"  {name}: above {best} ({100 * free[best]:.1f}) {verdict(reached > 100 * free[best])}"


def report_installed(row: Row, scores: dict[str, Score], installed: tuple[str, ...]) -> Iterator[str]:
    """Yield a line for each labeler on an embedding, where the row has a bar for them."""
    for name in installed if row.tagger_bar else ():
        reached = 100 * scores[name].accuracy
        yield f"  {name}: {reached:.1f} of {row.tagger_bar:g} {verdict(reached >= (row.tagger_bar or 0))}"


def language_models(runtime: Runtime) -> dict[str, MethodFactory]:
    """Return the ways to ask the LLM of the settings; nothing where none is set."""
    if (llm := runtime.llm) is None:
        print("No LLM is set: nearest tokens is what answers, and the shuffled control is its.")
        return {}
    kinds = {"LLaMA": FewShotSettings(orders=1), f"LLaMA, {ORDERS} orders": FewShotSettings(orders=ORDERS)}
    return {name: few_shot(llm.llama, llm.vocabulary, settings) for name, settings in kinds.items()}


def main(count: int, settings: Settings) -> None:
    """Print the table and the JSON line."""
    torch.set_num_threads(1)
    root, runtime = data_root(), Runtime(settings)
    models = language_models(runtime)
    started, figures = time.monotonic(), {}
    for name in dict.fromkeys(row.set for row in ROWS):
        rows = tuple(row for row in ROWS if row.set == name)
        clips = labeled_clips(root, name, runtime.codec, embedders=runtime.embedders)
        experiment = measure(rows, clips, models, count)
        scores = experiment.scores()
        for at, row in enumerate(rows):
            one = {method: row_scores[at] for method, row_scores in scores.items()}
            measured = {method: score for method, score in one.items() if score}
            lines = report(row, measured, experiment.answering, experiment.installed)
            print("\n".join([*lines, *report_installed(row, measured, experiment.installed)]), flush=True)
            figures[row.name] = {"bar": row.bar} | {method: asdict(s) for method, s in measured.items()}
    print(DIFFERENCES)
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
