"""Flows that answer with audio: speech and sounds from texts, and clips without their noise."""

from datetime import UTC, datetime

from prefect.runtime import flow_run

from flows.artifacts.pages import publish_audio
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import (
    AllowLoss,
    AudioFormat,
    Day,
    Duration,
    LibraryName,
    Prefix,
    Repeats,
    Seed,
    SliceSeconds,
    Temperature,
    Texts,
    TextsUri,
    Timezone,
    TopP,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.generate import AudioRequest
from flows.pipeline.generation.job import run_denoising, run_texts
from flows.pipeline.generation.texts import asked_texts
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="generate-speech",
    **explained("say texts by {library}"),
    description="Say texts by a frozen LLM that sees a library's clips; done work is skipped.",
    task_runner=batch_threads(),
)
def generate_speech(
    library: LibraryName,
    texts: Texts = [],  # noqa: B006  a form's empty list
    texts_uri: TextsUri = "",
    duration: Duration = 0.72,
    format: AudioFormat = "wav",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    repeats: Repeats = 0,
) -> dict[str, str | int | None]:
    """One object and one row for each text; the same request does nothing a second time."""
    runtime = shared_runtime(Settings())
    request = AudioRequest(library, duration, repeats, temperature, top_p, seed, format)
    asked = asked_texts(runtime, texts, texts_uri)
    done = run_texts(runtime, "speech", request, asked, in_tasks, flow_run_id=flow_run.id)
    publish_audio("generate-speech", texts_uri or f"texts by {library}", done)
    outcome = {"run": str(done.run.id), "page": done.run.manifest, **done.run.counts}
    return completed_with(outcome, done.run.counts)


@flow(
    name="generate-sound",
    **explained("sound texts by {library}"),
    description="Make sounds of texts by a frozen LLM that sees a library's clips; done work is skipped.",
    task_runner=batch_threads(),
)
def generate_sound(
    library: LibraryName,
    texts: Texts = [],  # noqa: B006  a form's empty list
    texts_uri: TextsUri = "",
    duration: Duration = 0.96,
    format: AudioFormat = "wav",
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    repeats: Repeats = 0,
) -> dict[str, str | int | None]:
    """One object and one row for each text; the same request does nothing a second time."""
    runtime = shared_runtime(Settings())
    request = AudioRequest(library, duration, repeats, temperature, top_p, seed, format)
    asked = asked_texts(runtime, texts, texts_uri)
    done = run_texts(runtime, "sound", request, asked, in_tasks, flow_run_id=flow_run.id)
    publish_audio("generate-sound", texts_uri or f"texts by {library}", done)
    outcome = {"run": str(done.run.id), "page": done.run.manifest, **done.run.counts}
    return completed_with(outcome, done.run.counts)


@flow(
    name="denoise-clips",
    **explained("denoise {prefix} by {library}, {day}"),
    description="List and tokenize a folder, and say each clip without its noise; done work is skipped.",
    task_runner=batch_threads(),
)
@names_states
def denoise_clips(
    prefix: Prefix,
    library: LibraryName,
    day: Day = "any",
    timezone: Timezone = "UTC",
    slice_seconds: SliceSeconds = 0.48,
    format: AudioFormat = "wav",
    allow_loss: AllowLoss = False,
    temperature: Temperature = 0.0,
    top_p: TopP = 1.0,
    seed: Seed = 0,
    repeats: Repeats = 0,
) -> dict[str, str | int | None]:
    """One object and one row for each clip; the same request does nothing a second time."""
    runtime, due = shared_runtime(Settings()), flow_run.scheduled_start_time or datetime.now(UTC)
    partition = partition_of(prefix, day, timezone, due, allow_loss=allow_loss)
    request = AudioRequest(library, slice_seconds, repeats, temperature, top_p, seed, format)
    done = run_denoising(runtime, partition, request, in_tasks, flow_run_id=flow_run.id)
    publish_audio("denoise-clips", partition.place, done)
    outcome = {"run": str(done.run.id), "page": done.run.manifest, **done.run.counts}
    return completed_with(outcome, done.run.counts)
