"""The steps of a night, one flow each: list, tokenize, build a library, label and export."""

from collections.abc import Iterator
from dataclasses import asdict, replace
from functools import partial

from prefect.runtime import flow_run
from sqlalchemy.orm import Session

from db.libraries import get_library
from db.predictions import current_labels, current_multi_labels
from flows.artifacts.pages import library_page, publish_page, publish_run
from flows.artifacts.tables import answer_rows, count_rows, library_rows, quarantine_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed, completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.states import with_named_failures
from flows.forms import (
    AllowLoss,
    ExportedLibrary,
    Folder,
    LibraryInstruction,
    ManifestUri,
    NewLibraryName,
    Promote,
    Task,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.exports.results import write_export
from flows.pipeline.labeling.exports.row import ExportedRow, LabelRow, LabelsRow
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.library_review import canary_line, name_of, review
from flows.pipeline.labeling.report import ClipAnswers, quarantined
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.by_label import MULTI_LABEL
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import (
    ingest_place,
    label_selection,
    run_once,
    tokenize_for,
    tokenize_place,
)
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.resources import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(name="ingest-clips", **run_options("ingest {prefix}"), description="List a folder or S3 prefix.")
@with_named_failures
def ingest_clips(prefix: Folder, allow_loss: AllowLoss = False) -> dict[str, int]:
    """List a place and record its clips; no object is read."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    with recorded_run(runtime, "ingest-clips", place, {}, flow_run_id=flow_run.id) as run:
        ingest_place(runtime, place, run, allow_loss=allow_loss)
        require_clips(runtime, place, place)
    publish_run("ingest-clips", place, run, count_rows(run))
    return completed_with_counts(dict(run.counts), run.counts)


@flow(
    name="tokenize-clips",
    **run_options("tokenize {prefix}"),
    description="Read, decode and tokenize the listed clips that have no tokens of the codec yet.",
    task_runner=batch_threads(),
)
@with_named_failures
def tokenize_clips(prefix: Folder) -> dict[str, int]:
    """Tokenize the clips that ingest-clips listed."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    parameters = {"codec": runtime.codec_fingerprint}
    with recorded_run(runtime, "tokenize-clips", place, parameters, flow_run_id=flow_run.id) as run:
        require_clips(runtime, place, place)
        tokenize_place(runtime, place, place, run, in_tasks)
    publish_run("tokenize-clips", place, run, quarantine_rows(quarantined(runtime, place)))
    return completed_with_counts(dict(run.counts), run.counts)


@flow(
    name="build-library",
    **run_options("library {library}"),
    description="Freeze the clips of a JSONL or CSV manifest as the next version of a library.",
)
def build_library(
    library: NewLibraryName,
    manifest: ManifestUri,
    task: Task = "label",
    instruction: LibraryInstruction = "",
    promote: Promote = False,
) -> dict[str, int]:
    """Import a library. New content makes a new version; equal content keeps its version."""
    runtime = shared_runtime(Settings())
    version, run = import_manifest(
        runtime, library, manifest, task, instruction or None, promote=promote, flow_run_id=flow_run.id
    )
    page = library_page(review(runtime, version), canary_line(runtime, version), run)
    publish_page("build-library", name_of(version), page, library_rows(version))
    line = f"{name_of(version)}: {len(version.demonstrations)} demonstrations"
    return completed({"version": version.version, **run.counts}, line)


@flow(
    name="label-clips",
    **run_options("label {prefix} by {library}"),
    description="Label the tokenized clips that have no answer to this request yet.",
    task_runner=batch_threads(),
)
@with_named_failures
def label_clips(
    prefix: Folder,
    request: LabelRequest,
) -> dict[str, int]:
    """Label the clips that tokenize-clips tokenized."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    recorded = recorded_run(
        runtime, "label-clips", place, asdict(request), libraries=("library",), flow_run_id=flow_run.id
    )
    with recorded as run:
        labelings = Labelings(runtime, replace(request, library=run.parameters["library"]))
        require_clips(runtime, place, place)
        run.breaker.run(lambda: labelings.prepare(run.claim))
        if any(labelings.models):
            tokenize_for(labelings, place, place, run, in_tasks)
        label_selection(labelings, place, run, in_tasks)
    answers = ClipAnswers(labelings, place)
    publish_run("label-clips", place, run, answer_rows(answers), len(answers))
    return completed_with_counts(dict(run.counts), run.counts)


@flow(
    name="export-results",
    **run_options("export {prefix} by {library}"),
    description="Write the current answers of a place under the run's prefix, the manifest last.",
)
@with_named_failures
def export_results(prefix: Folder, library: ExportedLibrary) -> dict[str, str | int | None]:
    """Export the current answers. The same answers are never written twice."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    parameters = {"library": library}
    with recorded_run(runtime, "export-results", place, parameters, flow_run_id=flow_run.id) as run:
        require_clips(runtime, place, place)
        rows = partial(_rows, place=place, library=library)
        run_once(run, "export", partial(write_export, runtime, rows, run))
    publish_run("export-results", place, run, count_rows(run))
    return completed_with_counts({"run": str(run.id), "manifest": run.manifest, **run.counts}, run.counts)


def _rows(session: Session, place: str, library: str) -> Iterator[ExportedRow]:
    if get_library(session, library).task == MULTI_LABEL:
        return (LabelsRow(**row) for row in current_multi_labels(session, place, library))
    return (LabelRow(**row) for row in current_labels(session, place, library))
