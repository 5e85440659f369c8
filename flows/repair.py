"""Flows that repair: replay clips, retract answers, read old contents again, and forget clips."""

from prefect.runtime import flow_run

from flows.artifacts.forgotten import hide_in_prefect
from flows.artifacts.pages import (
    left_answers_lines,
    publish_page,
    publish_run,
    refused_library_lines,
    summary,
)
from flows.artifacts.tables import count_rows, quarantine_rows, suspect_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed, completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.reference import find_place, find_run
from flows.forms import AllowLoss, DryRun, Folder, ForgottenClips, InUse, PrefixOrRun, Reasons, RunId
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.report import quarantined
from flows.pipeline.maintenance.forgetting.check import OUT_OF_REACH, require_absence
from flows.pipeline.maintenance.forgetting.forget import forget, report_lines, request_of
from flows.pipeline.maintenance.recheck import recheck_place, suspects_of
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.maintenance.undo import undo
from flows.pipeline.runtime.resources import shared_runtime


@flow(
    name="replay-quarantine",
    **run_options("replay {prefix}"),
    description="List a place and tokenize its quarantined clips again, after a fix; a night labels them.",
    task_runner=batch_threads(),
)
def replay_quarantine(
    prefix: PrefixOrRun,
    reasons: Reasons = [],  # noqa: B006  a form's empty list
    allow_loss: AllowLoss = False,
) -> dict[str, int]:
    """Replay quarantined clips, and show those that still cannot be used."""
    runtime = shared_runtime(Settings())
    place = find_place(runtime, prefix)
    replay = replay_place(runtime, place, reasons, in_tasks, allow_loss=allow_loss, flow_run_id=flow_run.id)
    publish_run("replay-quarantine", place, replay.run, quarantine_rows(quarantined(runtime, replay.uris)))
    return completed_with_counts(dict(replay.run.counts), replay.run.counts)


@flow(
    name="undo-run",
    **run_options("undo {run}"),
    description="Retract the answers of a run; undo an undo-run to restore them. Nothing is deleted.",
)
def undo_run(run: RunId) -> dict[str, str | int]:
    """Retract the answers of a run. Exported files stay as they are; export-results writes new ones."""
    runtime = shared_runtime(Settings())
    run_id = find_run(runtime, run)
    undone = undo(runtime, run_id, flow_run_id=flow_run.id)
    publish_run("undo-run", f"run {run_id}", undone, count_rows(undone))
    return completed_with_counts({"run": str(undone.id), **undone.counts}, undone.counts)


@flow(
    name="recheck",
    **run_options("recheck {prefix}"),
    description="Read clips stored before today's checks again, and redo what came from wrong audio.",
    task_runner=batch_threads(),
)
def recheck(prefix: Folder, dry_run: DryRun = False) -> dict[str, int]:
    """Show the suspect contents, then read them again. A dry run only shows them."""
    runtime = shared_runtime(Settings())
    suspects = suspects_of(runtime, prefix)
    if dry_run:
        publish_page(
            "recheck",
            prefix,
            f"## {sum(found.contents for found in suspects)} contents are suspect",
            suspect_rows(suspects),
        )
        found = {one.kind: one.contents for one in suspects}
        return completed(found, f"dry run: {sum(found.values())} contents are suspect")
    done = recheck_place(runtime, prefix, in_tasks, flow_run_id=flow_run.id)
    page = summary(prefix, done.run, [*refused_library_lines(done.libraries), *left_answers_lines(done.left)])
    publish_page("recheck", prefix, page, suspect_rows(suspects))
    return completed_with_counts(dict(done.run.counts), done.run.counts)


@flow(
    name="forget-clips",
    **run_options("forget clips, {now}"),
    description="Delete all that is stored of clips, and keep them away; their own objects stay.",
)
def forget_clips(clips: ForgottenClips, in_use: InUse = False, dry_run: DryRun = False) -> dict[str, int]:
    """Forget clips, then search all tables and results for what is left of them. Pages name nothing."""
    runtime = shared_runtime(Settings())
    done = forget(
        runtime,
        request_of(runtime, clips),
        in_use=in_use,
        dry_run=dry_run,
        hide_in_prefect=hide_in_prefect,
        flow_run_id=flow_run.id,
    )
    head = "Would be forgotten" if dry_run else "Forgotten"
    lines = [f"- {line.strip()}" for line in report_lines(done, dry_run=dry_run)]
    page = "\n".join([f"## {head}", "", *lines, "", f"{OUT_OF_REACH[0].upper()}{OUT_OF_REACH[1:]}."])
    rows = [{"what": what, "number": str(number)} for what, number in done.counts.items()]
    publish_page("forget-clips", head, page, rows)
    if not dry_run:
        require_absence(runtime, done.names)
    return completed_with_counts(dict(done.counts), done.counts)
