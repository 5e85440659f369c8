"""label-clips: a library's demonstrations in the prompt, an answer for every tokenized clip."""

from dataclasses import asdict, replace

from prefect.runtime import flow_run

from flows.artifacts.pages import answer_rows, publish
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import (
    Folder,
    KShot,
    Layers,
    LibraryName,
    MaxWindows,
    MinMargin,
    NearestShots,
    Orders,
    Repeats,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labelling, LabelRequest
from flows.pipeline.labeling.report import ClipAnswers
from flows.pipeline.nights.jobs import label_selection
from flows.pipeline.runs.run import recorded_run
from flows.pipeline.runs.verdict import require_clips
from flows.pipeline.runtime.runtime import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(
    name="label-clips",
    **explained("label {prefix} by {library}"),
    description="Label the tokenized clips that have no answer to this request yet.",
    task_runner=batch_threads(),
)
@names_states
def label_clips(
    prefix: Folder,
    library: LibraryName,
    min_margin: MinMargin = 0.0,
    k_shot: KShot = 0,
    nearest_shots: NearestShots = 0,
    layers: Layers = "auto",
    repeats: Repeats = 0,
    max_windows: MaxWindows = 3,
    orders: Orders = 0,
) -> dict[str, int]:
    """Labels what tokenize-clips tokenized."""
    runtime, place = shared_runtime(Settings()), canonical(prefix)
    request = LabelRequest(library, k_shot, layers, repeats, max_windows, orders, nearest_shots, min_margin)
    recorded = recorded_run(
        runtime, "label-clips", place, asdict(request), libraries=("library",), flow_run_id=flow_run.id
    )
    with recorded as run:
        labelling = Labelling(runtime, replace(request, library=run.parameters["library"]))
        require_clips(runtime, place, place)
        label_selection(labelling, place, run, in_tasks)
    answers = ClipAnswers(labelling, place)
    publish("label-clips", place, run, answer_rows(answers), len(answers))
    return completed_with(dict(run.counts), run.counts)
