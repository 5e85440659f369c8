"""Commands that label clips, and that measure and watch the labels."""

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from flows.cli.options import (
    ALLOW_LOSS,
    ALLOWED_PLACES,
    MIN_CLIPS,
    OUTPUT_FORMAT,
    request_options,
)
from flows.cli.output import echo_json, echo_lines, runtime_for
from flows.pipeline.labeling.evaluation.request import EvaluationOptions, EvaluationRequest
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.nights.bound_options import BoundOptions


@click.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@OUTPUT_FORMAT
@ALLOW_LOSS
@request_options(LabelRequest)
def label(place: str, layout: str, allow_loss: bool, **options: Any) -> None:
    """Label every clip of a folder or S3 prefix, in listing order.

    Clips that cannot be used are listed with the reason. A second run skips everything that is done.
    """
    from flows.pipeline.labeling.report import json_rows, table_lines
    from flows.pipeline.nights.bounds import doubts
    from flows.pipeline.nights.jobs import run_night
    from flows.pipeline.nights.on_ray import on_ray
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.runs.partition import partition_of

    with runtime_for(place) as runtime:
        request = LabelRequest(**options)
        partition = partition_of(place, allow_loss=allow_loss)
        distribute = on_ray(runtime.settings)
        night = run_night(
            runtime, partition, request, side_by_side, kind="label", export=False, distribute=distribute
        )
    if layout == "json":
        for row in json_rows(night.answers):
            echo_json(row)
    else:
        click.echo("\n".join(table_lines(night.answers)))
    for doubt in doubts(night.figures):
        click.echo(f"doubtful: {doubt}", err=True)


@click.command()
@click.argument("prefix", metavar="PREFIX")
@click.option("--first-day", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--last-day", type=click.DateTime(["%Y-%m-%d"]), required=True, help="Inclusive.")
@click.option("--timezone", default="UTC", show_default=True, help="Time zone of the days.")
@MIN_CLIPS
@ALLOW_LOSS
@request_options(LabelRequest)
def backfill(
    prefix: str,
    first_day: datetime,
    last_day: datetime,
    timezone: str,
    least_clips: int,
    allow_loss: bool,
    **options: Any,
) -> None:
    """Run the incomplete nights of a range of days.

    {day} in PREFIX is replaced by the day. Without {day}, the clips of a day are those last modified on it.
    """
    from flows.pipeline.labeling.labelings import Labelings
    from flows.pipeline.nights.backfill import backfill as backfill_days
    from flows.pipeline.nights.backfill import raise_failures
    from flows.pipeline.nights.bounds import raise_doubts
    from flows.pipeline.nights.jobs import run_night
    from flows.pipeline.nights.on_ray import on_ray
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.runs.days import check_timezone
    from flows.pipeline.runs.partition import Partition, partitions_of

    request = LabelRequest(**options)

    def run_day(day: Partition) -> None:
        night = run_night(
            runtime,
            day,
            request,
            side_by_side,
            kind="nightly-labeling",
            export=True,
            distribute=on_ray(runtime.settings),
            least_clips=least_clips,
        )
        raise_doubts(night.figures)

    days = partitions_of(
        prefix, first_day.date(), last_day.date(), check_timezone(timezone), allow_loss=allow_loss
    )
    with runtime_for(*{day.place for day in days}) as runtime:
        outcomes = backfill_days(Labelings(runtime, request), days, run_day)
    for outcome in outcomes:
        click.echo(f"{outcome.partition.day}  {outcome.status}")
    raise_failures(outcomes, least_clips)


@click.command()
@click.argument("manifest", metavar="MANIFEST.jsonl")
@request_options(EvaluationOptions)
@ALLOWED_PLACES
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="Write the JSON to this file as well.")
def evaluate(manifest: str, allow: tuple[str, ...], form: str, output: Path | None, **options: Any) -> None:
    """Measure few-shot labeling on clips with known labels.

    The same episodes are given to baselines, and the paper's figures are shown for comparison.

    A row of the manifest is {"path": ..., "label": ..., "group": ...}. No demonstration comes from the
    query's group. The models are those of the settings; without an LLM, only the baselines are measured.
    """
    from core.evaluation.tables import table_lines
    from flows.pipeline.labeling.evaluation.evaluate import evaluate as evaluate_manifest
    from flows.pipeline.labeling.evaluation.evaluate import figures_json
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.storage.uris import canonical

    with runtime_for(canonical(manifest).rpartition("/")[0], *allow) as runtime:
        evaluation, run = evaluate_manifest(
            runtime, EvaluationRequest(manifest=manifest, **options), side_by_side
        )
        figures = figures_json(evaluation, run)
    if output:
        output.write_bytes(figures)
    click.echo(f"kept: {run.manifest}", err=True)
    click.echo(figures.decode() if form == "json" else "\n".join(table_lines(evaluation.table)))


@click.command()
@click.argument("clip", metavar="FILE_OR_S3_URI")
@click.option("--library", required=True, metavar="NAME", help="Library whose labels were heard.")
@click.option(
    "--format",
    "layout",
    type=click.Choice(["table", "json", "audacity", "webvtt"]),
    default="table",
    show_default=True,
    help="audacity: a label track. webvtt: subtitles for a player.",
)
def events(clip: str, library: str, layout: str) -> None:
    """Print when each label is heard in a clip, as the last run with --events found it."""
    from core.events.formats import audacity, webvtt
    from db.engine import session_scope
    from db.events import events_of_clip
    from flows.pipeline.storage.uris import canonical

    with runtime_for() as runtime, session_scope(runtime.engine) as session:
        found = events_of_clip(session, canonical(clip), library)
    if found is None:
        raise click.ClickException(
            f"no events of {clip} by library {library}: wordwave label with --events finds them"
        )
    if layout in ("audacity", "webvtt"):
        click.echo((audacity if layout == "audacity" else webvtt)(found.events), nl=False)
    for event in found.events if layout in ("table", "json") else ():
        row = {"labeler": found.labeler, **vars(event)}
        if layout == "json":
            echo_json(row)
        else:
            echo_lines([f"{event.start_s:9.2f} {event.end_s:9.2f}  {event.score:.2f}  {event.label}"])


@click.command("choose-labeler")
@click.argument("library", metavar="LIBRARY[@VERSION]")
@click.argument("name", required=False)
def choose_labeler(library: str, name: str | None) -> None:
    """Show the labelers of a library version, or choose the one that answers.

    NAME is a labeler, or auto to compare all of them on the library's own clips. Answers that the chosen one
    has given become the current ones; the next night computes only those that are missing.
    """
    from flows.pipeline.labeling.labelers.choosing import choice_lines, stored_choice
    from flows.pipeline.labeling.labelers.choosing import choose_labeler as choose

    with runtime_for() as runtime:
        choice = choose(runtime, library, name)[0] if name else stored_choice(runtime, library)
    lines = (
        choice_lines(choice) if choice else ["no labeler is chosen yet: the first run by auto chooses one"]
    )
    echo_lines(lines)


@click.command()
@click.argument("place", metavar="PREFIX")
@request_options(BoundOptions, are_changes=True)
def watch(place: str, **bounds: float | None) -> None:
    """Set the bounds outside which nights end as Doubtful.

    Prints the bounds in force. PREFIX is the prefix of the nights, with {day} if they have it, or a folder
    that contains it. Bounds that are not given stay as they are. With --keep-days, nights delete for good
    what is stored of clips that were not listed for that long.
    """
    from flows.pipeline.nights.bounds import bounds_of, set_bounds
    from flows.pipeline.runs.partition import Partition
    from flows.pipeline.storage.uris import canonical

    changes = {name: bound for name, bound in bounds.items() if bound is not None}
    with runtime_for() as runtime:
        if changes:
            in_force = set_bounds(runtime, place, changes)
        else:
            in_force = bounds_of(runtime, Partition(place, canonical(place)))
    echo_json({"place": place, **vars(in_force)})
