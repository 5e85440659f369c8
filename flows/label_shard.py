"""label-shard: one worker's part of a night that is shared out."""

from prefect.runtime import flow_run

from flows.batches import batch_threads, in_tasks
from flows.flow_runs.end import completed_with
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.forms import (
    Day,
    KShot,
    Layers,
    LibraryName,
    MaxWindows,
    MinMargin,
    NearestShots,
    NightRun,
    Orders,
    Prefix,
    Repeats,
    ShardNumber,
    Shards,
    Timezone,
)
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import LabelRequest
from flows.pipeline.nights.jobs import Shard, run_shard
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="label-shard",
    **explained("shard {shard} of {shards} of {prefix} by {library}, {day}"),
    description="Tokenize and label one part of a night. nightly-labeling starts these, a person need not.",
    task_runner=batch_threads(),
)
def label_shard(
    prefix: Prefix,
    library: LibraryName,
    night: NightRun,
    shard: ShardNumber,
    shards: Shards,
    day: Day = "today",
    timezone: Timezone = "UTC",
    min_margin: MinMargin = 0.0,
    k_shot: KShot = 0,
    nearest_shots: NearestShots = 0,
    layers: Layers = "auto",
    repeats: Repeats = 0,
    max_windows: MaxWindows = 3,
    orders: Orders = 0,
) -> dict[str, int]:
    """The clips that fall to this shard; those that have tokens and an answer already are left alone."""
    run = run_shard(
        shared_runtime(Settings()),
        partition_of(prefix, day, timezone, flow_run.scheduled_start_time),
        Shard(night, shard, shards),
        LabelRequest(library, k_shot, layers, repeats, max_windows, orders, nearest_shots, min_margin),
        in_tasks,
        flow_run_id=flow_run.id,
    )
    return completed_with(dict(run.counts), run.counts)
