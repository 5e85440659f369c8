"""How long one waits before anything is done: help, imports, and a worker's first batch of labels.

`python -m benchmarks.startup` prints the median of several fresh processes each, the bar and a JSON line. The
worker finds an embedded Postgres that runs, a library and clips that are tokenized: what is timed is a new
process, imports and models included, until the answers of its first batch are written.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.machine import seconds_of
from benchmarks.recorded import verdict
from benchmarks.scale_out import LIBRARY, write_clips

REPEATS, BATCH_REPEATS = 7, 3
HELP_BAR = 0.5
CLIPS = 8
HELP = (str(Path(sys.executable).with_name("wordwave")), "--help")
LIGHT = ("db", "flows.forms")
"""What must not wait for torch."""
FLOW = "flows.steps"
WITHOUT_TORCH = "import sys, {module}; sys.exit('torch' in sys.modules)"
FIRST_BATCH = """
import sys
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.nights.jobs import label_selection, with_bar
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.runs.run import recorded_run
library, place, windows = sys.argv[1:]
runtime = Runtime(Settings())
with recorded_run(runtime, "label-clips", place, {"windows": windows}) as run:
    plain = "few-shot" if runtime.llm else "nearest-neighbour"
    labeling = Labeling(runtime, LabelRequest(library, max_windows=int(windows), labeler=plain))
    label_selection(labeling, place, run, with_bar)
runtime.close()
assert run.counts["label.labeled"], run.counts
"""
"""Each number of windows is another request, so that every worker finds the clips unanswered."""
PREPARE = """
import sys
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import ingest_place, tokenize_place, with_bar
from flows.pipeline.runs.run import recorded_run
library, manifest, place = sys.argv[1:]
runtime = Runtime(Settings())
import_manifest(runtime, library, manifest, "label")
with recorded_run(runtime, "tokenize-clips", place, {}) as run:
    ingest_place(runtime, place, run)
    tokenize_place(runtime, place, place, run, with_bar)
runtime.close()
"""


@dataclass(frozen=True)
class Waited:
    """Median, least and most seconds of a command in fresh processes."""

    what: str
    seconds: float
    least: float
    most: float

    def __str__(self) -> str:
        return f"  {self.what:<34}{self.seconds:>7.2f} s ({self.least:.2f} to {self.most:.2f})"


def waited(
    what: str, commands: Sequence[Sequence[str]], environment: Mapping[str, str] = os.environ
) -> Waited:
    """Run each command once; one that fails ends the program."""
    times = [seconds_of(partial(run, command, environment)) for command in commands]
    return Waited(what, median(times), min(times), max(times))


def run(command: Sequence[str], environment: Mapping[str, str] = os.environ) -> None:
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


def imports_torch(module: str) -> bool:
    """Return whether importing a module brings torch along."""
    return subprocess.run(python(WITHOUT_TORCH.format(module=module)), check=False).returncode != 0


def first_batch(folder: Path) -> Waited:
    """Time a worker's first batch, over a few clips that are tokenized already."""
    from db.embedded.server import stop

    home = folder / "home"
    environment = os.environ | {"WORDWAVE_HOME": str(home), "WORDWAVE_READ_ROOTS": str(folder)}
    for variable in ("WORDWAVE_DATABASE_URL", "WORDWAVE_STORAGE_URI"):
        environment.pop(variable, None)
    home.mkdir(mode=0o711)
    write_clips(folder, CLIPS)
    manifest, place = str(folder / "library" / "manifest.jsonl"), (folder / "day").as_uri()
    try:
        run(python(PREPARE, LIBRARY, manifest, place), environment)
        workers = [python(FIRST_BATCH, LIBRARY, place, str(n)) for n in range(1, BATCH_REPEATS + 1)]
        return waited(f"a worker's first batch ({CLIPS} clips)", workers, environment)
    finally:
        stop(home)


def main() -> None:
    """Print the waits, the bar and the JSON line."""
    figures = [waited("wordwave --help", [HELP] * REPEATS)]
    modules = (*LIGHT, FLOW)
    figures += [waited(f"import {module}", [python(f"import {module}")] * REPEATS) for module in modules]
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        figures.append(first_batch(Path(folder)))
    print("Seconds until something is done, median of fresh processes (least to most)")
    print("\n".join(map(str, figures)))
    print(f"  help {figures[0].seconds:.2f} s of {HELP_BAR} {verdict(figures[0].seconds <= HELP_BAR)}")
    torch = {module: imports_torch(module) for module in LIGHT}
    for module, there in torch.items():
        print(f"  {module} {'imports' if there else 'does not import'} torch {verdict(not there)}")
    print(json.dumps({"benchmark": "startup", "imports_torch": torch, "waits": [asdict(f) for f in figures]}))


if __name__ == "__main__":
    main()
