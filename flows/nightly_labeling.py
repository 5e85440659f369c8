"""nightly-labeling: the whole job for one day's folder, as it is scheduled."""

from datetime import UTC, datetime
from typing import cast

from prefect.runtime import flow_run
from prefect.states import Completed

from flows.artifacts.night_pages import all_clips, night_page, plan_page, plan_rows
from flows.artifacts.pages import answer_rows, publish_page
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.approval import wait_for_approval
from flows.flow_runs.catch_up import make_up
from flows.flow_runs.end import completed
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.sharding import shared_out
from flows.flow_runs.states import completed_empty, names_states
from flows.forms import (
    AllowLoss,
    Approve,
    CanaryLibrary,
    CatchUpDays,
    Day,
    DryRun,
    KShot,
    Layers,
    LeastCanaryAccuracy,
    LeastClips,
    LibraryName,
    MaxWindows,
    MinMargin,
    NearestShots,
    Orders,
    Prefix,
    Repeats,
    Shards,
    Timezone,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.label import Labelling, LabelRequest
from flows.pipeline.nights.bounds import raise_doubts
from flows.pipeline.nights.catch_up import days_to_make_up
from flows.pipeline.nights.jobs import run_night
from flows.pipeline.nights.plan import STATES, NightPlan
from flows.pipeline.nights.preview import preview
from flows.pipeline.nights.summary import night_before, night_line
from flows.pipeline.runs.partition import Partition, partition_of
from flows.pipeline.runs.verdict import no_clips
from flows.pipeline.runtime.runtime import Runtime, shared_runtime

KIND = "nightly-labeling"
Outcome = dict[str, str | int | None]


@flow(
    name=KIND,
    **explained("nightly {prefix} by {library}, {day}", tells_nights_apart=True),
    description="List, tokenize, label and export one folder; done work is skipped, bad clips are set aside.",
    task_runner=batch_threads(),
)
@names_states
def nightly_labeling(
    prefix: Prefix,
    library: LibraryName,
    dry_run: DryRun = False,
    day: Day = "today",
    timezone: Timezone = "UTC",
    approve: Approve = False,
    least_clips: LeastClips = 1,
    canary_library: CanaryLibrary = "",
    least_canary_accuracy: LeastCanaryAccuracy = 0.8,
    min_margin: MinMargin = 0.0,
    allow_loss: AllowLoss = False,
    catch_up_days: CatchUpDays = 7,
    shards: Shards = 1,
    k_shot: KShot = 0,
    nearest_shots: NearestShots = 0,
    layers: Layers = "auto",
    repeats: Repeats = 0,
    max_windows: MaxWindows = 3,
    orders: Orders = 0,
) -> Outcome:
    """One run of one day: `{day}` in the prefix is filled in, else its clips last modified that day count."""
    runtime, due = shared_runtime(Settings()), flow_run.scheduled_start_time or datetime.now(UTC)
    partition = partition_of(prefix, day, timezone, due, allow_loss=allow_loss)
    request = LabelRequest(library, k_shot, layers, repeats, max_windows, orders, nearest_shots, min_margin)
    canaries = CanaryRequest(canary_library, least_canary_accuracy) if canary_library else None
    if dry_run or approve:
        plan = _show_plan(runtime, partition, request, canaries)
        if plan.is_empty and least_clips:
            raise no_clips(partition.where)
        if dry_run:
            return _planned(plan)
        if not plan.is_done:
            wait_for_approval()
    night = run_night(
        runtime,
        partition,
        request,
        in_tasks,
        kind=KIND,
        export=True,
        canaries=canaries,
        flow_run_id=flow_run.id,
        share_out=shared_out(shards, prefix, timezone) if shards > 1 else None,
        least_clips=least_clips,
    )
    page = night_page(partition.place, night, night_before(runtime, night.run.id))
    page += "\n\n" + all_clips(partition.place, night)
    publish_page(KIND, partition.place, page, answer_rows(night.answers), len(night.answers))
    if not approve:  # nobody saw a plan of other days
        earlier = days_to_make_up(runtime, KIND, partition, library, catch_up_days)
        make_up(earlier, nightly_labeling)
    raise_doubts(night.figures)
    outcome: Outcome = {"run": str(night.run.id), "manifest": night.run.manifest, **night.run.counts}
    if not len(night.answers):
        return cast(Outcome, completed_empty(outcome))
    return completed(outcome, night_line(night.summary, len(night.answers), night.run.counts))


def _planned(plan: NightPlan) -> Outcome:
    """A state by another name than that of a night that was done, which the watch over freshness waits for.

    Prefect hands its data to whoever called the flow.
    """
    counts, due = {state: plan.counts[state] for state in STATES}, f"{plan.due} clips to work on"
    return cast(Outcome, Completed(name="Planned", message=due, data=counts))


def _show_plan(
    runtime: Runtime, partition: Partition, request: LabelRequest, canaries: CanaryRequest | None
) -> NightPlan:
    """Plans the night and leaves the plan as artifacts; what is named is checked on the way."""
    labelling = Labelling(runtime, request)
    asked = Canaries(labelling, canaries) if canaries else None
    seen = preview(labelling, partition, KIND)
    publish_page("nightly-plan", partition.place, plan_page(seen, asked), plan_rows(seen.plan))
    if seen.prompt.over_limit:
        _ = labelling.prompt_hash  # raises what the night would fail with
    return seen.plan
