"""Nightly labeling: one day of a place, a range of days, and one shard of a day."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Any, cast

from prefect import Flow
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.runtime import flow_run
from prefect.states import Completed

from db.locks import PartitionBusy
from flows.artifacts.forgotten import hide_in_prefect
from flows.artifacts.night_pages import (
    all_clips,
    backfill_page,
    day_rows,
    listen_line,
    night_page,
    plan_page,
    plan_rows,
    review_line,
)
from flows.artifacts.pages import publish_page
from flows.artifacts.tables import answer_rows
from flows.batches import batch_threads, in_tasks
from flows.flow_runs.approval import wait_for_approval
from flows.flow_runs.end import completed, completed_with_counts
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import run_options
from flows.flow_runs.states import completed_empty, with_named_failures
from flows.forms import (
    AllowLoss,
    Approve,
    CanaryLibrary,
    CatchUpDays,
    Day,
    DryRun,
    FirstDay,
    LastDay,
    LeastCanaryAccuracy,
    LeastClips,
    NightRun,
    Prefix,
    Reviews,
    ShardNumber,
    Shards,
    Timezone,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.canary import Canaries, CanaryRequest
from flows.pipeline.labeling.labelings import Labelings
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.by_label import refuse_multi_label
from flows.pipeline.maintenance.forgetting.retention import forget_old
from flows.pipeline.nights.backfill import backfill, days_to_make_up, raise_failures
from flows.pipeline.nights.bounds import raise_doubts
from flows.pipeline.nights.earlier import night_before
from flows.pipeline.nights.jobs import run_night, run_shard
from flows.pipeline.nights.on_ray import on_ray
from flows.pipeline.nights.parts import Shard
from flows.pipeline.nights.plan import STATES, NightPlan
from flows.pipeline.nights.preview import preview
from flows.pipeline.nights.summary import night_line
from flows.pipeline.runs.outage import Away
from flows.pipeline.runs.partition import Partition, partition_of, partitions_of
from flows.pipeline.runs.verdict import no_clips
from flows.pipeline.runtime.resources import Runtime, shared_runtime
from flows.sharding import in_shards

KIND = "nightly-labeling"
Outcome = dict[str, str | int | None]


@flow(
    name=KIND,
    **run_options("nightly {prefix} by {library}, {day}", tells_nights_apart=True),
    description="List, tokenize, label and export one folder; finished work and bad clips are skipped.",
    task_runner=batch_threads(),
)
@with_named_failures
def nightly_labeling(
    prefix: Prefix,
    request: LabelRequest,
    dry_run: DryRun = False,
    day: Day = "today",
    timezone: Timezone = "UTC",
    approve: Approve = False,
    least_clips: LeastClips = 1,
    canary_library: CanaryLibrary = "",
    least_canary_accuracy: LeastCanaryAccuracy = 0.8,
    allow_loss: AllowLoss = False,
    catch_up_days: CatchUpDays = 7,
    shards: Shards = 1,
    reviews: Reviews = 10,
) -> Outcome:
    """Run one day: `{day}` in the prefix is replaced, or the clips last modified on that day are taken."""
    runtime, due = shared_runtime(Settings()), flow_run.scheduled_start_time or datetime.now(UTC)
    partition = partition_of(prefix, day, timezone, due, allow_loss=allow_loss)
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
        distribute=in_shards(shards, prefix, timezone) if shards > 1 else on_ray(runtime.settings),
        least_clips=least_clips,
        reviews=reviews,
    )
    page = night_page(partition.place, night, night_before(runtime, night.run.id))
    page += "\n\n" + all_clips(partition.place, night)
    page += listen_line(runtime.settings.explore_url, night.run.id)
    if reviews and not night.labelings.is_multi_label:
        page += review_line(runtime.settings.explore_url, night.labelings.library.name)
    publish_page(KIND, partition.place, page, answer_rows(night.answers), len(night.answers))
    if not approve:  # nobody saw a plan of other days
        earlier = days_to_make_up(runtime, KIND, partition, request.library, catch_up_days)
        make_up(earlier, nightly_labeling)
    not_forgotten = _forget_old(runtime, partition)
    raise_doubts(night.figures)
    if not_forgotten:
        raise not_forgotten
    outcome: Outcome = {"run": str(night.run.id), "manifest": night.run.manifest, **night.run.counts}
    if not len(night.answers):
        return cast(Outcome, completed_empty(outcome))
    return completed(outcome, night_line(night.summary, len(night.answers), night.run.counts))


def _forget_old(runtime: Runtime, partition: Partition) -> Exception | None:
    """Forget what is too old, and return what failed: it takes nothing from the night.

    While somebody else forgets, this waits for the next night, which finds the same contents.
    """
    logger = get_run_logger()
    try:
        forget_old(runtime, partition, hide_in_prefect)
    except PartitionBusy as busy:
        logger.warning("what is too old is forgotten by the next night: %s", busy)
    except Exception as failure:
        logger.exception("what is too old was not forgotten")
        return failure
    return None


def _planned(plan: NightPlan) -> Outcome:
    """Return a state of its own name: the freshness alert waits for nights that were really done.

    Prefect gives its data to the caller of the flow.
    """
    counts, due = {state: plan.counts[state] for state in STATES}, f"{plan.due} clips to work on"
    return cast(Outcome, Completed(name="Planned", message=due, data=counts))


def _show_plan(
    runtime: Runtime, partition: Partition, request: LabelRequest, canaries: CanaryRequest | None
) -> NightPlan:
    """Plan the night and publish the plan. This also checks that the library and the canaries exist."""
    labelings = Labelings(runtime, request)
    if canaries:
        refuse_multi_label(labelings.library)
    first = labelings.all[0].setup
    canary_check = Canaries(first, canaries) if canaries else None
    night = preview(labelings, partition, KIND)
    publish_page("nightly-plan", partition.place, plan_page(night, canary_check), plan_rows(night.plan))
    if night.prompt.over_limit:
        _ = first.prompt.hash  # raises what the night would fail with
    return night.plan


def make_up(days: Iterable[date], night: Flow[..., dict[str, Any]]) -> None:
    """Run the nights of these days with the values of this run. One that fails does not stop the others.

    It fails in its own state. If a store or database is down, the days after it wait as well.
    """
    logger = get_run_logger()
    for day in days:
        logger.info("no night of %s was completed: running it now", day)
        values = flow_run.parameters | {"day": day.isoformat(), "catch_up_days": 0, "reviews": 0}
        state = cast("State[Any]", night(**values, return_state=True))
        if not state.is_completed():
            logger.warning("%s is still incomplete: %s", day, state.message)
        if isinstance(state.result(raise_on_failure=False), Away):
            return


@flow(
    name="backfill-labeling",
    **run_options("backfill {prefix} by {library}, {first_day} to {last_day}"),
    description="Run nightly-labeling for each incomplete day of a range.",
)
@with_named_failures
def backfill_labeling(
    prefix: Prefix,
    request: LabelRequest,
    first_day: FirstDay,
    last_day: LastDay,
    timezone: Timezone = "UTC",
    least_clips: LeastClips = 1,
    canary_library: CanaryLibrary = "",
    least_canary_accuracy: LeastCanaryAccuracy = 0.8,
    allow_loss: AllowLoss = False,
) -> dict[str, str]:
    """Run each day as its own run with its own page. One that fails does not stop the others."""
    days = partitions_of(prefix, date.fromisoformat(first_day), date.fromisoformat(last_day), timezone)

    def run_day(partition: Partition) -> None:
        nightly_labeling(
            prefix,
            day=str(partition.day),
            timezone=timezone,
            canary_library=canary_library,
            least_canary_accuracy=least_canary_accuracy,
            allow_loss=allow_loss,
            least_clips=least_clips,
            catch_up_days=0,
            reviews=0,
            **asdict(request),
        )

    outcomes = backfill(Labelings(shared_runtime(Settings()), request), days, run_day)
    publish_page("backfill-labeling", prefix, backfill_page(prefix, outcomes), day_rows(outcomes))
    raise_failures(outcomes, least_clips)
    statuses = {str(outcome.partition.day): outcome.status for outcome in outcomes}
    counted = Counter(statuses.values())
    return completed(statuses, ", ".join(f"{number} days {status}" for status, number in counted.items()))


@flow(
    name="label-shard",
    **run_options("shard {shard} of {shards} of {prefix} by {library}, {day}"),
    description="Tokenize and label one shard of a night. nightly-labeling starts these runs by itself.",
    task_runner=batch_threads(),
)
def label_shard(
    prefix: Prefix,
    request: LabelRequest,
    night: NightRun,
    shard: ShardNumber,
    shards: Shards,
    day: Day = "today",
    timezone: Timezone = "UTC",
) -> dict[str, int]:
    """Tokenize and label the clips of this shard. Those with tokens and an answer are skipped."""
    run = run_shard(
        shared_runtime(Settings()),
        partition_of(prefix, day, timezone, flow_run.scheduled_start_time),
        Shard(night, shard, shards),
        request,
        in_tasks,
        flow_run_id=flow_run.id,
    )
    return completed_with_counts(dict(run.counts), run.counts)
