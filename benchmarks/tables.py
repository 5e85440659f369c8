"""The paper's Tables 2, 3, 8 and 9 asked of recorded clips: repeats, layers, instruction, ways.

`python -m benchmarks.tables [EPISODES]` prints the tables with the paper's figures and a JSON line. The
models are those of the settings; without an LLM the baselines are asked alone, which know neither repeats nor
instruction. Clips are whole and asked in windows; `wordwave evaluate --protocol paper` cuts them to a second.
"""

import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchmarks.recorded import DataRow, data_root, labeled_clips, manifest
from core.evaluation.episodes import LabeledClips
from core.evaluation.experiment import Experiment, MethodFactory, few_shot
from core.evaluation.layouts import Column, Layout, TaskName, columns
from core.evaluation.tables import Table, table_lines
from core.prompts.few_shot import FewShotSettings
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.runtime.resources import Runtime

EPISODES = 600
SEED = 2026
WORDS = ("zero", "one", "two", "three")
UTTERANCES = 20
"""Of each word, as many as the paper's Table 8 has."""
BIRDS = "chirping_birds"


@dataclass(frozen=True)
class Asking:
    """A table and the clips that are asked for it."""

    set: str
    layout: Layout
    task: TaskName
    column: Column
    here: str


SOUNDS = "73 clips of 10 ESC-50 classes, 5 s; no demonstration is of the query's freesound session."
ASKINGS = (
    Asking("sound_events", "prompts", "sound-events", Column(2, 1), SOUNDS),
    Asking("sound_events", "prompts", "sound-events", Column(3, 1), SOUNDS),
    Asking("sound_events", "ways", "sound-events", Column(2, 1), SOUNDS),
    Asking(
        "emotion",
        "prompts",
        "emotion",
        Column(2, 1),
        "100 clips of 7 feelings, EmoDB (acted German, 2 s); no demonstration is of the query's speaker.",
    ),
    Asking(
        "digits",
        "prompts",
        "speech-commands",
        Column(2, 1),
        "four spoken digits, 20 utterances of each (0.5 s), in place of four commands; no demonstration is "
        "of the query's speaker; the mini models were trained on these recordings.",
    ),
    Asking(
        "sound_events",
        "single",
        "bird-sounds",
        Column(2, 1),
        "bird or no bird among 73 clips of 10 ESC-50 classes; no demonstration is of the query's session.",
    ),
)


def clips_of(root: Path, asking: Asking, runtime: Runtime) -> LabeledClips:
    """Return the clips of a table: words as the paper counts them, birds against all else."""
    if asking.set == "digits":
        return labeled_clips(root, "digits", runtime.codec, _some_of_each(manifest(root, "digits")))
    clips = labeled_clips(root, asking.set, runtime.codec)
    if asking.task == "bird-sounds":
        said = ("bird" if label == BIRDS else "no bird" for label in clips.labels)
        return replace(clips, labels=tuple(said))
    return clips


def _some_of_each(rows: Sequence[DataRow]) -> Callable[[DataRow], bool]:
    """Keep UTTERANCES rows of each of WORDS, drawn by the seed."""
    by_word: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        by_word[row["labels"]["text"]].append(row["path"])
    rng = random.Random(SEED)
    kept = {path for word in WORDS for path in rng.sample(by_word[word], UTTERANCES)}
    return lambda row: row["path"] in kept


def models(runtime: Runtime, layout: Layout) -> Mapping[str, MethodFactory]:
    """Return the LLM of the settings: with both kinds of layers for Tables 2 and 8, else as trained."""
    if (llm := runtime.llm) is None:
        return {}
    kinds = {"LLaMA": FewShotSettings()}
    if layout == "prompts":
        layered = (FewShotSettings(layers="semantic"), FewShotSettings(layers="semantic+acoustic"))
        kinds = {f"LLaMA, {settings.layers}": settings for settings in layered}
    return {name: few_shot(llm.llama, llm.vocabulary, settings) for name, settings in kinds.items()}


def ask(asking: Asking, clips: LabeledClips, runtime: Runtime, count: int) -> Table:
    """Return the table's scores."""
    shown = columns(asking.layout, asking.column, len(set(clips.labels)))
    experiment = Experiment(clips, shown, models(runtime, asking.layout), count=count, seed=SEED)
    for part in experiment.parts():
        experiment.ask(part)
    about = (f"Here: {count} episodes of {asking.here}", *dict.fromkeys(experiment.too_long.values()))
    return Table(asking.layout, asking.task, shown, experiment.scores(), experiment.answering, about)


def main(count: int) -> None:
    """Print the tables and the JSON line."""
    torch.set_num_threads(1)
    root, runtime, figures = data_root(), Runtime(Settings()), []
    for asking in ASKINGS:
        table = ask(asking, clips_of(root, asking, runtime), runtime, count)
        print("\n".join(table_lines(table)), end="\n\n", flush=True)
        scores = {name: [one and asdict(one) for one in row] for name, row in table.scores.items()}
        shown = [asdict(column) for column in table.columns]
        figures.append({"table": table.paper_name, "set": asking.set, "columns": shown, "scores": scores})
    models_used = {
        "codec": runtime.codec.fingerprint,
        "llama": runtime.llm.fingerprint if runtime.llm else None,
    }
    print(json.dumps({"benchmark": "tables", **models_used, "tables": figures}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else EPISODES)
