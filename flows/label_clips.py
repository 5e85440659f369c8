"""label-clips: a library's demonstrations in the prompt, an answer for every tokenized clip."""

from dataclasses import asdict, replace

from prefect.runtime import flow_run

from flows.artifacts import answer_rows, publish
from flows.form_flow import flow
from flows.named_states import names_states
from flows.parameters import (
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
from flows.run_end import completed_with
from flows.run_options import explained
from flows.runtime import shared_runtime
from flows.settings import Settings
from flows.stages.job import label_selection
from flows.stages.label import Labelling, LabelRequest
from flows.stages.report import ClipAnswers
from flows.stages.run import recorded_run
from flows.stages.verdict import require_clips
from flows.storage.location import canonical
from flows.tasks import batch_threads, in_tasks


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
