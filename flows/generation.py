"""Flows that generate audio: speech and sounds from texts, and clips without their noise."""

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.runtime import flow_run

from flows.artifacts.pages import publish_audio
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.states import with_named_failures
from flows.forms import (
    AllowLoss,
    Day,
    DenoiseMethod,
    Duration,
    Judge,
    Prefix,
    SliceSeconds,
    Texts,
    TextsUri,
    Timezone,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.generation.generate import TextTask
from flows.pipeline.generation.job import Generated, run_denoising, run_texts
from flows.pipeline.generation.request import AudioOptions, AudioRequest
from flows.pipeline.generation.texts import find_texts
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import shared_runtime

Outcome = dict[str, str | int | None]


@flow(
    name="generate-speech",
    **run_options("say texts by {library}"),
    description="Speak texts with a frozen LLM, as a library's clips show; finished work is skipped.",
    task_runner=batch_threads(),
)
def generate_speech(
    options: AudioOptions,
    texts: Texts = [],  # noqa: B006  a form's empty list
    texts_uri: TextsUri = "",
    duration: Duration = 0.72,
    judge: Judge = False,
) -> Outcome:
    """Write an object and a row for each text. The same request does nothing a second time."""
    return _answer_texts("speech", options.with_seconds(duration), texts, texts_uri, judge=judge)


@flow(
    name="generate-sound",
    **run_options("sound texts by {library}"),
    description="Make sounds with a frozen LLM, as a library's clips show; finished work is skipped.",
    task_runner=batch_threads(),
)
def generate_sound(
    options: AudioOptions,
    texts: Texts = [],  # noqa: B006  a form's empty list
    texts_uri: TextsUri = "",
    duration: Duration = 0.96,
) -> Outcome:
    """Write an object and a row for each text. The same request does nothing a second time."""
    return _answer_texts("sound", options.with_seconds(duration), texts, texts_uri)


@flow(
    name="denoise-clips",
    **run_options("denoise {prefix} by {library}, {day}"),
    description="List and tokenize a folder, and remove noise from each clip; finished work is skipped.",
    task_runner=batch_threads(),
)
@with_named_failures
def denoise_clips(
    prefix: Prefix,
    options: AudioOptions,
    day: Day = "any",
    timezone: Timezone = "UTC",
    slice_seconds: SliceSeconds = 0.48,
    allow_loss: AllowLoss = False,
    method: DenoiseMethod = "auto",
) -> Outcome:
    """Write an object and a row for each clip. The same request does nothing a second time."""
    runtime, due = shared_runtime(Settings()), flow_run.scheduled_start_time or datetime.now(UTC)
    partition = partition_of(prefix, day, timezone, due, allow_loss=allow_loss)
    request = options.with_seconds(slice_seconds)
    done = run_denoising(runtime, partition, request, in_tasks, method=method, flow_run_id=flow_run.id)
    return _publish("denoise-clips", partition.place, done)


def _answer_texts(
    task: TextTask, request: AudioRequest, texts: Sequence[str], texts_uri: str, *, judge: bool = False
) -> Outcome:
    runtime = shared_runtime(Settings())
    questions = find_texts(runtime, texts, texts_uri)
    done = run_texts(runtime, task, request, questions, in_tasks, judge=judge, flow_run_id=flow_run.id)
    return _publish(f"generate-{task}", texts_uri or f"texts by {request.library}", done)


def _publish(flow_name: str, place: str, done: Generated) -> Outcome:
    """Publish the page of a run and return its outcome."""
    publish_audio(flow_name, place, done)
    outcome: Outcome = {"run": str(done.run.id), "page": done.run.manifest, **done.run.counts}
    return completed_with_counts(outcome, done.run.counts)
