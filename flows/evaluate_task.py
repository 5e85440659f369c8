"""evaluate-task: few-shot episodes of clips whose labels are known, beside baselines and the paper."""

from prefect.runtime import flow_run

from flows.artifacts.pages import evaluation_page, publish_page, score_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import (
    Episodes,
    EpisodeSeed,
    LabeledManifestUri,
    Layers,
    MaxWindows,
    NWay,
    Orders,
    PaperTask,
    Protocol,
    Repeats,
    Shots,
    ShownInstruction,
    TableLayout,
    Window,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.evaluation.evaluate import EvaluationRequest, evaluate
from flows.pipeline.runtime.runtime import shared_runtime
from flows.pipeline.storage.uris import canonical


@flow(
    name="evaluate-task",
    **explained("evaluate {manifest}"),
    description="Ask few-shot episodes of labelled clips, and the same ones of baselines that cost nothing.",
    task_runner=batch_threads(),
)
def evaluate_task(
    manifest: LabeledManifestUri,
    layout: TableLayout = "single",
    n_way: NWay = 2,
    k_shot: Shots = 1,
    episodes: Episodes = 600,
    paper: PaperTask = "none",
    protocol: Protocol = "service",
    seed: EpisodeSeed = 0,
    instruction: ShownInstruction = True,
    repeats: Repeats = 0,
    layers: Layers = "auto",
    window: Window = 0,
    max_windows: MaxWindows = 3,
    orders: Orders = 0,
) -> dict[str, str | int | None]:
    """The same request gives the same figures."""
    request = EvaluationRequest(
        manifest,
        n_way,
        k_shot,
        episodes,
        layout,
        paper,
        instruction,
        repeats,
        layers,
        window,
        max_windows,
        orders,
        protocol,
        seed,
    )
    evaluation, run = evaluate(shared_runtime(Settings()), request, in_tasks, flow_run_id=flow_run.id)
    page = evaluation_page(canonical(manifest), evaluation.table, run)
    publish_page("evaluate-task", canonical(manifest), page, score_rows(evaluation.table))
    return completed_with({"run": str(run.id), "figures": run.manifest, **run.counts}, run.counts)
