"""Flows that measure and check: evaluations, bounds of a place, checks of a run and of the service."""

from collections.abc import Mapping
from dataclasses import asdict

from prefect.artifacts import create_table_artifact
from prefect.runtime import flow_run

from flows.artifacts.markdown import cell
from flows.artifacts.pages import evaluation_page, publish_checks, publish_page, publish_run
from flows.artifacts.tables import check_rows, count_rows, score_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed, completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.reference import find_run
from flows.forms import (
    LabeledManifestUri,
    Prefix,
    RunId,
    Sample,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.evaluation.evaluate import evaluate
from flows.pipeline.labeling.evaluation.request import EvaluationOptions, EvaluationRequest
from flows.pipeline.maintenance.count_words import count_words as count
from flows.pipeline.maintenance.verify import verify_run as verify
from flows.pipeline.nights.bound_options import BoundOptions
from flows.pipeline.nights.bounds import set_bounds
from flows.pipeline.runs.check import require
from flows.pipeline.runtime.resources import shared_runtime
from flows.pipeline.storage.uris import canonical
from flows.server.health import examine_service


@flow(
    name="evaluate-task",
    **run_options("evaluate {manifest}"),
    description="Measure few-shot labeling on clips with known labels, compared with free baselines.",
    task_runner=batch_threads(),
)
def evaluate_task(manifest: LabeledManifestUri, options: EvaluationOptions) -> dict[str, str | int | None]:
    """Evaluate a task. The same request gives the same figures."""
    request = EvaluationRequest(manifest=manifest, **vars(options))
    evaluation, run = evaluate(shared_runtime(Settings()), request, in_tasks, flow_run_id=flow_run.id)
    page = evaluation_page(canonical(manifest), evaluation.table, run)
    publish_page("evaluate-task", canonical(manifest), page, score_rows(evaluation.table))
    return completed_with_counts({"run": str(run.id), "figures": run.manifest, **run.counts}, run.counts)


@flow(
    name="watch-place",
    flow_run_name="watch {prefix}",
    description="Set the bounds outside which nights of a place, and of folders in it, end as Doubtful.",
)
def watch_place(prefix: Prefix, options: BoundOptions) -> dict[str, float]:
    """Set all bounds of a place, in place of the earlier ones."""
    bounds = asdict(set_bounds(shared_runtime(Settings()), prefix, asdict(options)))
    rows = [{"bound": name, "is": f"{bound:g}"} for name, bound in bounds.items()]
    create_table_artifact(table=rows, key="watch-place-table", description=cell(prefix))
    return completed(bounds, _bounds_line(bounds))


def _bounds_line(bounds: Mapping[str, float]) -> str:
    """Return the bounds that bound something in a line."""
    unbound = asdict(BoundOptions())
    texts = [
        f"{name.replace('_', ' ')} {bound:g}" for name, bound in bounds.items() if bound != unbound[name]
    ]
    return ", ".join(texts) or "no bounds: no night of this place is doubtful"


@flow(
    name="verify-run",
    **run_options("verify {run}"),
    description="Encode and answer some clips of a run again, read its files again, and report differences.",
)
def verify_run(run: RunId, sample: Sample = 50) -> dict[str, str | int]:
    """Verify a run without changing anything. The flow fails if something differs."""
    runtime = shared_runtime(Settings())
    run_id = find_run(runtime, run)
    checks, verified = verify(runtime, run_id, sample, flow_run_id=flow_run.id)
    publish_run("verify-run", f"run {run_id}", verified, check_rows(checks))
    require(checks)
    return completed_with_counts({"run": str(verified.id), **verified.counts}, verified.counts)


@flow(
    name="count-words",
    **run_options("count words {now}"),
    description="Count new contents' words, near copies and the motifs of labels, for analysts.",
)
def count_words() -> dict[str, int]:
    """Count what is not counted. A second run adds nothing."""
    counted = count(shared_runtime(Settings()), flow_run_id=flow_run.id)
    publish_run("count-words", "all contents", counted, count_rows(counted))
    return completed_with_counts(dict(counted.counts), counted.counts)


@flow(
    name="doctor",
    **run_options("doctor {now}"),
    description="Check versions, database, storage, models, device, server and workers; show remedies.",
)
def doctor() -> dict[str, str]:
    """Make all checks, and fail if one of them failed."""
    checks = list(examine_service(Settings()))
    publish_checks("doctor", checks)
    require(checks)
    findings = {check.name: check.finding for check in checks}
    return completed(findings, f"all {len(checks)} checks passed")
