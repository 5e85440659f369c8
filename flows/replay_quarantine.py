"""replay-quarantine: clips that were set aside get another try."""

from prefect.runtime import flow_run

from flows.artifacts.pages import publish, quarantine_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.reference import find_place
from flows.forms import AllowLoss, PrefixOrRun, Reasons
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.report import quarantined
from flows.pipeline.maintenance.replay import replay_place
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="replay-quarantine",
    **explained("replay {prefix}"),
    description="List a place and tokenize its quarantined clips again, after a fix; a night labels them.",
    task_runner=batch_threads(),
)
def replay_quarantine(
    prefix: PrefixOrRun,
    reasons: Reasons = [],  # noqa: B006  a form's empty list
    allow_loss: AllowLoss = False,
) -> dict[str, int]:
    """Shows which of them still cannot be used."""
    runtime = shared_runtime(Settings())
    place = find_place(runtime, prefix)
    replay = replay_place(runtime, place, reasons, in_tasks, allow_loss=allow_loss, flow_run_id=flow_run.id)
    publish("replay-quarantine", place, replay.run, quarantine_rows(quarantined(runtime, replay.uris)))
    return completed_with(dict(replay.run.counts), replay.run.counts)
