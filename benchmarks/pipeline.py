"""One-second clips from an S3 server to labels in Postgres, by two flows, against what limits them.

`python -m benchmarks.pipeline [CLIPS]` prints what each stage takes alone, what the whole takes (the flows
tokenize-clips and label-clips, models loaded and Prefect's server started), peak memory at 1,000 clips and at
all of them, the bars and a JSON line. The limit is the slowest stage alone, or all the processor seconds
shared out to the cores, whichever is longer; beside it stands what is left over where the host of a virtual
machine gave its cores to others meanwhile. Clips are made by rule, no two alike. The S3 server (moto) and
Postgres are processes of their own on the same cores, so theirs are in the total.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np

from benchmarks.fleet import free_port, own_prefect
from benchmarks.recorded import verdict
from benchmarks.scale_out import fresh_database

if TYPE_CHECKING:
    from db.clips import ClipToTokenize
    from db.runs import RunClaim
    from flows.pipeline.runtime.resources import Runtime

CLIPS, FEW = 10_000, 1_000
"""Stages alone are measured on FEW clips, and memory is compared with that of so many."""
RATE = 16_000
BUCKET, LIBRARY = "clips", "pitches"
LABELS = {"low": 120.0, "high": 5_000.0}
BAR, FLAT_BAR = 1.15, 1.10
STAGES = ("download", "decode", "encode", "write", "label")
KEYS = {
    "AWS_ACCESS_KEY_ID": "benchmark",
    "AWS_SECRET_ACCESS_KEY": "benchmark",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


def clip_bytes(number: int, hertz: float | None = None) -> bytes:
    """Return a second of a tone in noise as FLAC; each number's is its own."""
    import torch

    from core.audio.resampling import flac_bytes

    rng = np.random.default_rng(number)
    pitch = hertz or rng.uniform(100, 6_000)
    tone = 0.3 * np.sin(2 * np.pi * pitch * np.arange(RATE) / RATE)
    noisy = tone + 0.01 * rng.standard_normal(RATE)
    return flac_bytes(torch.from_numpy(noisy.astype(np.float32)), RATE)


def library_files() -> Iterator[tuple[str, bytes]]:
    """Yield two demonstrations and their manifest, by name."""
    rows = []
    for number, (label, hertz) in enumerate(LABELS.items()):
        yield f"{label}.flac", clip_bytes(-1 - number & 0xFFFFFFFF, hertz)
        rows.append(json.dumps({"path": f"{label}.flac", "label": label}))
    yield "manifest.jsonl", "\n".join(rows).encode()


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of a moto server in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{port}"
        _wait_for(url)
        yield url
    finally:
        server.terminate()
        server.wait()


def _wait_for(url: str) -> None:
    for _ in range(120):
        try:
            urlopen(url, timeout=5).close()
        except URLError:
            time.sleep(0.5)
        else:
            return
    raise TimeoutError(f"{url} does not answer")


def put_clips(endpoint: str, clips: int) -> None:
    """Put the library, `all` of the clips, and the first few of them once more as `few`."""
    import boto3

    client = boto3.client("s3", endpoint_url=endpoint)
    client.create_bucket(Bucket=BUCKET)
    for name, data in library_files():
        client.put_object(Bucket=BUCKET, Key=f"library/{name}", Body=data)
    for number in range(clips):
        data = clip_bytes(number)
        for folder in ("all", "few") if number < FEW else ("all",):
            client.put_object(Bucket=BUCKET, Key=f"{folder}/{number:06}.flac", Body=data)


def processor_seconds(started_by: int) -> float:
    """Of a process, all that it started and Postgres, which stands beside it."""
    stats = dict(_stats())
    mine = {started_by}
    while more := {pid for pid, (parent, _, _) in stats.items() if parent in mine} - mine:
        mine |= more
    ticks = sum(t for pid, (_, name, t) in stats.items() if pid in mine or name == "postgres")
    return ticks / os.sysconf("SC_CLK_TCK")


def _stats() -> Iterator[tuple[int, tuple[int, str, int]]]:
    """Yield each process with its parent, name and clock ticks, including children that have ended."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            before, _, after = path.read_text().rpartition(")")
        except (FileNotFoundError, ProcessLookupError):
            continue
        fields = after.split()
        yield int(path.parent.name), (int(fields[1]), before.partition("(")[2], sum(map(int, fields[11:15])))


def stolen_seconds() -> float:
    """Processor seconds so far in which the host let other machines work while this one wanted to."""
    fields = Path("/proc/stat").read_text().split(maxsplit=9)
    return int(fields[8]) / os.sysconf("SC_CLK_TCK")


def whole(place: str) -> dict[str, Any]:
    """Run the flows over a place, and return seconds, processor seconds and peak memory in MiB."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime
    from flows.steps import ingest_clips, label_clips, tokenize_clips

    runtime = shared_runtime(Settings())
    _prepare(runtime)
    ingest_clips(place)  # Prefect's server starts
    benchmark = os.getppid()
    busy, stolen, started = processor_seconds(benchmark), stolen_seconds(), time.monotonic()
    tokenized = tokenize_clips(place)
    labeled = label_clips(place, LIBRARY)
    seconds = time.monotonic() - started
    said = {
        "seconds": seconds,
        "processor_seconds": processor_seconds(benchmark) - busy,
        "stolen_seconds": stolen_seconds() - stolen,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "counts": {**tokenized, **{str(n): v for n, v in labeled.items() if isinstance(v, int)}},
    }
    runtime.close()
    return said


def _prepare(runtime: Runtime) -> None:
    """Import the library and load the models."""
    from flows.pipeline.libraries.library import import_manifest

    import_manifest(runtime, LIBRARY, f"s3://{BUCKET}/library/manifest.jsonl", "label")
    _ = runtime.llm and runtime.llm.llama


def alone(place: str) -> dict[str, Any]:
    """Seconds of each stage over a place, nothing else going on, with the stages' own functions."""
    from flows.pipeline.clips.ingest import ingest
    from flows.pipeline.clips.tokenize_clips import batches_to_tokenize
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runs.run import recorded_run
    from flows.pipeline.runtime.resources import Runtime

    runtime, spent = Runtime(Settings()), dict.fromkeys(STAGES, 0.0)
    _prepare(runtime)
    ingest(runtime, place)
    with recorded_run(runtime, "label-clips", place, {}) as run:
        for batch in batches_to_tokenize(runtime, place, runtime.settings.batch_size):
            _tokenize_in_steps(runtime, place, batch, run.claim, spent)
        _label(runtime, place, run.claim, spent)
    runtime.close()
    return {"seconds": spent}


def _tokenize_in_steps(
    runtime: Runtime, place: str, clips: Sequence[ClipToTokenize], run: RunClaim, spent: dict[str, float]
) -> None:
    """Do what tokenize_batch does with new clips, one step after another."""
    from flows.pipeline.clips import tokenize_clips as tokenize

    with ExitStack() as files:
        with _timed(spent, "download"):
            fetches = tokenize.fetch_clips(runtime, runtime.readable(place), clips, files)
        new = tokenize._new_contents(clips, fetches, lambda contents: set())
        with _timed(spent, "decode"):
            decoded = list(runtime.decoding.map(partial(tokenize._decode, runtime), new))
        with _timed(spent, "encode"):
            outcomes = tokenize._encode_all(runtime, decoded)
    with _timed(spent, "write"):
        tokenize._save(runtime, clips, outcomes, run)


def _label(runtime: Runtime, place: str, run: RunClaim, spent: dict[str, float]) -> None:
    from flows.pipeline.labeling.label import Labeling
    from flows.pipeline.labeling.request import LabelRequest

    plain = "few-shot" if runtime.llm else "nearest-neighbour"
    labeling = Labeling(runtime, LabelRequest(LIBRARY, labeler=plain))
    labeling.setup.prepare(run)
    labeling.setup.load()  # made once, as in label_selection: not what a batch takes
    batches = labeling.batches(place)
    with _timed(spent, "label"):
        for batch in batches:
            labeling.label_batch(batch, run)


@contextmanager
def _timed(spent: dict[str, float], stage: str) -> Iterator[None]:
    started = time.monotonic()
    yield
    spent[stage] += time.monotonic() - started


def in_child(what: str, folder: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """`whole` or `alone` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.pipeline", what, f"s3://{BUCKET}/{folder}"]
    child = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    said: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    return said


def measured(folder: Path, clips: int) -> dict[str, dict[str, Any]]:
    """Stages alone, the whole over few clips and over all."""
    from db.embedded import server as embedded

    os.environ.update(KEYS)
    server = embedded.start(folder / "home")
    try:
        with s3_server() as endpoint:
            put_clips(endpoint, clips)
            asked = {"stages": ("alone", "few"), "few": ("whole", "few"), "all": ("whole", "all")}
            return {
                name: in_child(
                    *what, environment(folder / name, endpoint, fresh_database(server, f"pipeline_{name}"))
                )
                for name, what in asked.items()
            }
    finally:
        embedded.stop(folder / "home")


def environment(folder: Path, endpoint: str, database_url: str) -> dict[str, str]:
    """Return the environment that leads a process to the servers, and to a home of its own."""
    folder.mkdir()
    return {
        **os.environ,
        "AWS_ENDPOINT_URL": endpoint,
        "WORDWAVE_HOME": str(folder),
        "WORDWAVE_DATABASE_URL": database_url,
        "WORDWAVE_READ_ROOTS": f"s3://{BUCKET}",
        "WORDWAVE_STORAGE_URI": str(folder / "results"),
        **own_prefect(folder),
    }


def main(clips: int) -> None:
    """Print the stages, the whole, the bars and the JSON line."""
    with tempfile.TemporaryDirectory(prefix="ww-", dir="/tmp") as folder:
        Path(folder).chmod(0o711)  # Postgres may run as another account
        figures = measured(Path(folder), clips)
    cores, few, all_ = os.cpu_count() or 1, figures["few"], figures["all"]
    stages = {n: s * clips / min(clips, FEW) for n, s in figures["stages"]["seconds"].items()}
    shared = all_["processor_seconds"] / cores
    limit = max(*stages.values(), shared)
    over, growth = all_["seconds"] / limit, all_["peak_mib"] / few["peak_mib"]
    given = (all_["seconds"] - all_["stolen_seconds"] / cores) / limit
    print(
        f"{clips} one-second clips, S3 to Postgres, {cores} cores: {all_['seconds']:.1f} s, {all_['counts']}"
    )
    for stage in STAGES:
        print(f"  {stage:<10} alone {stages[stage]:>8.1f} s (from {min(clips, FEW)} clips)")
    print(f"  processor seconds over cores {shared:.1f} s; limit {limit:.1f} s")
    print(
        f"  whole over the limit {over:.2f} times, of {BAR} {verdict(over <= BAR)}; {given:.2f} times "
        f"without the {all_['stolen_seconds']:.1f} processor seconds that the host gave to other machines"
    )
    print(
        f"  peak memory {few['peak_mib']:.0f} MiB at {min(clips, FEW)} clips, {all_['peak_mib']:.0f} at "
        f"{clips}: {growth:.2f} times, of {FLAT_BAR} {verdict(growth <= FLAT_BAR)}"
    )
    said = {
        "benchmark": "pipeline",
        "clips": clips,
        "cores": cores,
        "limit": limit,
        "over": over,
        "over_given": given,
    }
    print(json.dumps({**said, "stages": stages, "few": few, "all": all_}))


if __name__ == "__main__":
    if len(sys.argv) > 2:
        print(json.dumps({"whole": whole, "alone": alone}[sys.argv[1]](sys.argv[2])))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS)
