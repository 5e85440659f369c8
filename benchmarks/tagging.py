"""A night of tagging through the flows: all spoken digits, then all sound events, from files to Parquet.

`python -m benchmarks.tagging` prints clips per second and peak memory, and a JSON line. Each set is a night
of its own: the flow nightly-labeling in a process and a database of its own, Prefect's server and Postgres
beside it, with the models of the settings. The library has one demonstration of each label, and the models
are loaded when the clock starts; a second night over the same clips finds nothing to do.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.fleet import own_prefect
from benchmarks.recorded import LABELS, data_root, manifest

SETS = ("digits", "sound_events")
LIBRARY = "one-of-each"


def main() -> None:
    """Print the table and the JSON line."""
    figures = {}
    for name in SETS:
        with tempfile.TemporaryDirectory(prefix="wordwave-") as folder:
            Path(folder).chmod(0o711)  # Postgres may run as another account
            figures[name] = night_in_child(name, Path(folder))
        one = figures[name]
        print(
            f"{name}: {one['labeled']} of {one['clips']} clips labeled in {one['seconds']:.1f} s, "
            f"{one['clips_per_second']:.1f} clips per second; peak memory of the worker "
            f"{one['peak_mebibytes']:.0f} MiB; second night {one['second_night_seconds']:.1f} s",
            flush=True,
        )
        print(f"  by {one['labeler']}, codec {one['codec']}, LLM {one['llm'] or 'none'}", flush=True)
    print(json.dumps({"benchmark": "tagging", "cores": os.cpu_count(), "sets": figures}))


def night_in_child(name: str, folder: Path) -> dict[str, float | str | None]:
    """Run `night` in a process that sees this folder as its home."""
    environment = os.environ | {
        "WORDWAVE_HOME": str(folder / "home"),
        "WORDWAVE_READ_ROOTS": f"{data_root()},{folder}",
        **own_prefect(folder),
    }
    for variable in ("WORDWAVE_DATABASE_URL", "WORDWAVE_STORAGE_URI"):
        environment.pop(variable, None)
    (folder / "home").mkdir(mode=0o711)
    command = [sys.executable, "-m", "benchmarks.tagging", name, str(folder)]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    figures: dict[str, float | str | None] = json.loads(child.stdout.splitlines()[-1])
    return figures


def night(name: str, folder: Path) -> dict[str, float | str | None]:
    """Import a library and runs the flow over the set twice."""
    from db.embedded.server import stop
    from flows.nightly import nightly_labeling
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.libraries.library import import_manifest
    from flows.pipeline.runtime.resources import shared_runtime
    from flows.steps import ingest_clips

    root, settings = data_root(), Settings()
    clips, empty = root / name / "dev", folder / "empty"
    runtime = shared_runtime(settings)
    try:
        import_manifest(runtime, LIBRARY, str(write_library(root, name, folder)), "label")
        _ = runtime.llm and runtime.llm.llama
        empty.mkdir()
        ingest_clips(str(empty))  # Prefect's server starts
        started = time.monotonic()
        plain = "few-shot" if settings.llm else "nearest-neighbour"
        counts = nightly_labeling(str(clips), LIBRARY, day="any", labeler=plain)
        seconds = time.monotonic() - started
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        nightly_labeling(str(clips), LIBRARY, day="any", labeler=plain)
        second = time.monotonic() - started - seconds
    finally:
        runtime.close()
        stop(settings.home)
    labeled = int(counts.get("label.labeled") or 0)
    return {
        "clips": len(manifest(root, name)),
        "labeled": labeled,
        "seconds": round(seconds, 2),
        "clips_per_second": round(labeled / seconds, 2),
        "peak_mebibytes": round(peak),
        "second_night_seconds": round(second, 2),
        "labeler": plain,
        "codec": settings.codec,
        "llm": settings.llm,
    }


def write_library(root: Path, name: str, folder: Path) -> Path:
    """Return a manifest of the first clip of each label."""
    first = {str(row["labels"][LABELS[name]]): row["path"] for row in reversed(manifest(root, name))}
    rows = [json.dumps({"path": str(root / path), "label": label}) for label, path in first.items()]
    path = folder / "library.jsonl"
    path.write_text("\n".join(rows) + "\n")
    return path


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(json.dumps(night(sys.argv[1], Path(sys.argv[2]))))
    else:
        main()
