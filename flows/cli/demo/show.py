"""The demonstration: clips made here, labeled by nightly-labeling in Prefect, shown with the true labels.

If an LLM that answers with audio is set, it also speaks, makes sounds and removes noise.
"""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from flows.cli.demo.clips import DemoClips, write_demo_clips
from flows.flow_runs.own_server import prefect_home, read_password
from flows.pipeline.configuration.settings import Settings

if TYPE_CHECKING:
    from flows.pipeline.labeling.report import ClipAnswer

SEED = 1
LIBRARY = "demo-sounds"
NEIGHBOR_NAMES = {"nearest": "by tokens", "nearest_latent": "by pooled latent"}
QUERIES = (
    "SELECT label, count(*), avg(margin) FROM analytics.labels GROUP BY label",
    "SELECT uri, reason, message FROM analytics.quarantine",
)


def run_demo() -> None:
    """Make the clips, import the library, run the flow and print the answers."""
    settings = Settings()
    folder = settings.home / "demo"
    os.environ.setdefault("PREFECT_HOME", str(prefect_home(settings.home)))
    if "PREFECT_API_URL" not in os.environ:  # the flow's own server, for as long as it runs
        os.environ |= dict.fromkeys(
            ("PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"), read_password(settings.home)
        )
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "WARNING")
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    # the first start creates the server's database, which can take over 20 seconds on a busy machine
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "180")
    click.echo(f"1. Making clips from synthetic sounds and recorded espeak-ng speech in {folder}")
    clips = write_demo_clips(folder, SEED)
    answers, labeler, manifest = _run(settings.reading(str(folder)), clips)
    click.echo("\n".join([*_table(answers, _truth(clips)), *_next_steps(settings, labeler, manifest)]))
    if settings.generation_llm is not None:
        _run_audio(folder)


def _run_audio(folder: Path) -> None:
    from flows.cli.demo.audio_clips import write_audio_clips
    from flows.cli.demo.show_audio import import_audio, show_audio
    from flows.pipeline.runtime.resources import shared_runtime

    click.echo("\n4. Speech, sounds and denoising: making libraries, running three flows")
    runtime = shared_runtime(Settings())
    clips = write_audio_clips(folder / "audio", SEED)
    import_audio(runtime, clips)
    for lines in show_audio(runtime, clips):
        click.echo(lines)
    runtime.close()


def _run(settings: Settings, clips: DemoClips) -> tuple[list["ClipAnswer"], str, str]:
    """Run the stages that a schedule would run, as a flow in its own Prefect server."""
    os.environ["WORDWAVE_READ_ROOTS"] = ",".join(settings.read_roots)
    click.echo("2. Starting Postgres, importing the library")
    from flows.nightly import nightly_labeling
    from flows.pipeline.labeling.label import Labeling
    from flows.pipeline.labeling.labelers.choosing import answering_sentence
    from flows.pipeline.labeling.report import ClipAnswers
    from flows.pipeline.labeling.request import LabelRequest
    from flows.pipeline.libraries.library import import_manifest
    from flows.pipeline.runtime.resources import shared_runtime
    from flows.pipeline.storage.uris import canonical

    runtime = shared_runtime(Settings())
    version, _ = import_manifest(runtime, LIBRARY, str(clips.library), "label")
    click.echo(f"   {version.name}@{version.version}, {len(version.demonstrations)} demonstrations")
    click.echo("3. Running the flow nightly-labeling in Prefect (its server takes some seconds to start)")
    manifest = nightly_labeling(str(clips.clips), LIBRARY, day="any")["manifest"]
    labeling = Labeling(runtime, LabelRequest(LIBRARY))
    answers = list(ClipAnswers(labeling, canonical(str(clips.clips))))
    return answers, answering_sentence(labeling.setup), str(manifest)


def _truth(clips: DemoClips) -> dict[str, str]:
    rows = map(json.loads, clips.truth.read_text().splitlines())
    return {Path(row["path"]).name: row["label"] for row in rows}


def _table(answers: list["ClipAnswer"], truth: dict[str, str]) -> list[str]:
    lines = ["", f"{'clip':<16}{'label':<12}{'probability':>12}   truth"]
    right = 0
    for clip in answers:
        name = clip.uri.rpartition("/")[2]
        if clip.answer is None:
            lines.append(f"{name:<16}{'-':<24}   quarantined: {clip.reason}")
            continue
        is_right = clip.answer.label == truth.get(name)
        right += is_right
        mark = "  (unknown)" if clip.status == "unknown" else "" if is_right else "  (wrong)"
        lines.append(
            f"{name:<16}{clip.answer.label:<12}{clip.answer.probability:>12.2f}   {truth.get(name)}{mark}"
        )
    clips, chance = len(truth), 1 / len(set(truth.values()))
    accuracy = f"\n{right} of {clips} right: accuracy {right / clips:.0%}, chance {chance:.0%}"
    neighbors = (f"{name} {_count_right(answers, truth, key)}" for key, name in NEIGHBOR_NAMES.items())
    return [*lines, accuracy, f"The nearest demonstration alone: {', '.join(neighbors)} of {clips}"]


def _count_right(answers: list["ClipAnswer"], truth: dict[str, str], baseline: str) -> int:
    """Return how many clips a free baseline labels right."""
    baselines = {clip.uri.rpartition("/")[2]: clip.answer.baselines for clip in answers if clip.answer}
    return sum(baselines.get(name, {}).get(baseline) == label for name, label in truth.items())


def _next_steps(settings: Settings, labeler: str, manifest: str) -> list[str]:
    rows = "the database that WORDWAVE_DATABASE_URL names"
    if settings.database_url is None:
        rows = f"the embedded Postgres in {settings.home} (wordwave down stops it)"
    return [
        "",
        f"{labeler}.",
        "",
        f"Rows      schema analytics of {rows}",
        f"Objects   {manifest}",
        "Next steps",
        *(f'  {Path(sys.executable).parent}/wordwave sql "{query}"' for query in QUERIES),
    ]
