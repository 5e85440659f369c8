"""backfill-labeling: the nights of a range of days, as far as they miss something."""

from collections import Counter
from dataclasses import asdict
from datetime import date

from flows.artifacts.night_pages import backfill_page, day_rows
from flows.artifacts.pages import publish_page
from flows.flow_runs.end import completed
from flows.flow_runs.form_flow import flow
from flows.flow_runs.options import explained
from flows.flow_runs.states import names_states
from flows.forms import (
    AllowLoss,
    CanaryLibrary,
    FirstDay,
    KShot,
    LastDay,
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
    Timezone,
)
from flows.nightly_labeling import nightly_labeling
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.labeling.label import Labelling, LabelRequest
from flows.pipeline.nights.backfill import backfill, raise_failures
from flows.pipeline.runs.partition import Partition, partitions_of
from flows.pipeline.runtime.runtime import shared_runtime


@flow(
    name="backfill-labeling",
    **explained("backfill {prefix} by {library}, {first_day} to {last_day}"),
    description="Run nightly-labeling for each day of a range that misses something, and for no other.",
)
@names_states
def backfill_labeling(
    prefix: Prefix,
    library: LibraryName,
    first_day: FirstDay,
    last_day: LastDay,
    timezone: Timezone = "UTC",
    least_clips: LeastClips = 1,
    canary_library: CanaryLibrary = "",
    least_canary_accuracy: LeastCanaryAccuracy = 0.8,
    min_margin: MinMargin = 0.0,
    allow_loss: AllowLoss = False,
    k_shot: KShot = 0,
    nearest_shots: NearestShots = 0,
    layers: Layers = "auto",
    repeats: Repeats = 0,
    max_windows: MaxWindows = 3,
    orders: Orders = 0,
) -> dict[str, str]:
    """Each day is a run of its own, with its own page; one that fails stops no other."""
    days = partitions_of(prefix, date.fromisoformat(first_day), date.fromisoformat(last_day), timezone)
    request = LabelRequest(library, k_shot, layers, repeats, max_windows, orders, nearest_shots, min_margin)

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
            **asdict(request),
        )

    outcomes = backfill(Labelling(shared_runtime(Settings()), request), days, run_day)
    publish_page("backfill-labeling", prefix, backfill_page(prefix, outcomes), day_rows(outcomes))
    raise_failures(outcomes, least_clips)
    statuses = {str(outcome.partition.day): outcome.status for outcome in outcomes}
    counted = Counter(statuses.values())
    return completed(statuses, ", ".join(f"{number} days {status}" for status, number in counted.items()))
