"""Commands that repair or check what runs wrote."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, get_args

import click

from core.errors import ReasonCode
from flows.cli.options import ALLOW_LOSS
from flows.cli.output import echo_checks, echo_json, echo_lines, runtime_for

if TYPE_CHECKING:
    from flows.pipeline.maintenance.forgetting.forget import Forgetting
    from flows.pipeline.runtime.resources import Runtime


@click.command()
@click.argument("place", metavar="DIR_OR_S3_URI_OR_RUN")
@click.option(
    "--reason",
    "reasons",
    type=click.Choice(get_args(ReasonCode)),
    metavar="CODE",
    multiple=True,
    help="Only clips with this reason code; can be repeated.",
)
@ALLOW_LOSS
def replay(place: str, reasons: tuple[str, ...], allow_loss: bool) -> None:
    """Tokenize the quarantined clips of a place again.

    Use it after a fix or with other limits. The place is listed first.
    A run, given by an id or a name from its page, stands for its folder.
    """
    from flows.flow_runs.reference import find_place
    from flows.forms import is_place
    from flows.pipeline.maintenance.replay import replay_place
    from flows.pipeline.nights.side_by_side import side_by_side

    is_folder = is_place(place) or Path(place).is_dir()
    with runtime_for(*([place] if is_folder else [])) as runtime:
        folder = place if is_folder else find_place(runtime, place)
        replayed = replay_place(runtime, folder, reasons, side_by_side, allow_loss=allow_loss).run
    echo_json({"run": str(replayed.id), **replayed.counts})


@click.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.option("--dry-run", is_flag=True, help="Only show what would be read again.")
def recheck(place: str, dry_run: bool) -> None:
    """Read clips again that were stored before today's checks.

    Labels and audio that came from wrong audio are retracted and made again. Clips that today's checks refuse
    are quarantined.
    """
    from flows.pipeline.maintenance.recheck import recheck_place, suspect_lines, suspects_of
    from flows.pipeline.nights.side_by_side import side_by_side

    with runtime_for(place) as runtime:
        click.echo("\n".join(suspect_lines(suspects_of(runtime, place))), err=True)
        if dry_run:
            return
        done = recheck_place(runtime, place, side_by_side)
    for library in done.libraries:
        click.echo(f"{library} shows a clip that is refused now: import it again without it", err=True)
    if done.left:
        click.echo(f"{done.left} retracted answers are of other models than these: not redone", err=True)
    echo_json({"run": str(done.run.id), **done.run.counts})


@click.command()
@click.argument("run")
def undo(run: str) -> None:
    """Retract the answers of a run.

    The earlier answers are current again. Undo the undo to restore the retracted ones. RUN is an id or a name
    from the run's page.
    """
    from flows.flow_runs.reference import find_run
    from flows.pipeline.maintenance.undo import undo as undo_run

    with runtime_for() as runtime:
        undone = undo_run(runtime, find_run(runtime, run))
    echo_json({"run": str(undone.id), **undone.counts})


@click.command()
@click.argument("clips", metavar="[SHA256|URI]...", nargs=-1)
@click.option(
    "--from-file", type=click.File(), help="File with a digest or uri on each line; - reads standard input."
)
@click.option(
    "--in-use",
    is_flag=True,
    help="Also forget demonstrations of a library version in use, and while other runs go on.",
)
@click.option("--dry-run", is_flag=True, help="Only show what would be forgotten.")
@click.option("--check", is_flag=True, help="Only search all tables and results for what is named.")
def forget(
    clips: tuple[str, ...], from_file: TextIO | None, in_use: bool, dry_run: bool, check: bool
) -> None:
    """Delete all that is stored of clips, and keep them from coming back.

    Clips are named by their uri or path, or by the SHA-256 of their bytes; all clips with the same bytes go.
    Afterwards all tables and results are searched for them. The objects that clips are read from are never
    deleted.
    """
    from flows.pipeline.maintenance.forgetting.check import OUT_OF_REACH, require_absence
    from flows.pipeline.maintenance.forgetting.forget import names_of, report_lines

    given = [*clips, *(line.rstrip("\r\n") for line in from_file or () if line.strip())]
    if not given:
        raise click.UsageError("name at least one clip by its uri or SHA-256")
    if check and dry_run:
        raise click.UsageError("--check only searches and --dry-run only shows: give one of them")
    with runtime_for() as runtime:
        if check:
            names = names_of(given)
        else:
            forgetting = _forget(runtime, given, in_use=in_use, dry_run=dry_run)
            echo_lines(report_lines(forgetting, dry_run=dry_run), err=True)
            names = forgetting.names
        if not dry_run:
            require_absence(runtime, names)
            click.echo("nothing of it is in any table or object of the results", err=True)
            click.echo(OUT_OF_REACH, err=True)
    if not check:
        echo_json(dict(forgetting.counts))


def _forget(runtime: "Runtime", given: Sequence[str], *, in_use: bool, dry_run: bool) -> "Forgetting":
    """Forget clips here and in the Prefect server, if this working folder's runs or one is named."""
    from flows.flow_runs.own_server import found_by_clients
    from flows.pipeline.maintenance.forgetting.forget import forget, request_of

    with found_by_clients(runtime.settings.home):
        from flows.artifacts.forgotten import hide_in_prefect

        return forget(
            runtime,
            request_of(runtime, given),
            in_use=in_use,
            dry_run=dry_run,
            hide_in_prefect=hide_in_prefect,
        )


@click.command()
@click.argument("run")
@click.option(
    "--sample",
    type=click.IntRange(1, 10_000),
    default=50,
    show_default=True,
    help="Clips to compute again.",
)
@click.option("--allow", multiple=True, metavar="PLACE", help="A place where clips of the run may be read.")
def verify(run: str, sample: int, allow: tuple[str, ...]) -> None:
    """Compute part of a run again, and report differences.

    The files of the run are read again as well. RUN is an id or a name from the run's page.
    """
    from flows.flow_runs.reference import find_run
    from flows.pipeline.maintenance.verify import verify_run

    with runtime_for(*allow) as runtime:
        checks, _ = verify_run(runtime, find_run(runtime, run), sample)
    echo_checks(checks)


@click.command("check-answers")
def check_answers() -> None:
    """Compare the current answers that are kept for analysts, and their counts, with their definition.

    Every answer is looked at: on a large database this takes minutes.
    """
    from db.counted_days import count_agreement_differences, count_day_differences
    from db.current_answers import count_differences
    from db.engine import session_scope

    with runtime_for() as runtime, session_scope(runtime.engine) as session:
        differences, day_differences = count_differences(session), count_day_differences(session)
        agreement_differences = count_agreement_differences(session)
    if differences:
        raise click.ClickException(
            f"{differences} current answers differ from their definition: somebody wrote past the triggers. "
            "As wordwave_owner, call refresh_current_answers_of with the ids of all demonstration_sets"
        )
    for counted, wrong in (("labels", day_differences), ("agreement", agreement_differences)):
        if wrong:
            raise click.ClickException(
                f"{wrong} counts of {counted} differ from the answers of their days: somebody wrote past "
                "the triggers. As wordwave_owner, add the days of clips to days_to_count"
            )
    click.echo("every current answer is the one that its definition says", err=True)


@click.command("count-words")
def count_words() -> None:
    """Count words, near copies and motifs of labels for analysts.

    Only what is new is counted. Schedule it after the nights, or use the flow count-words.
    """
    from flows.pipeline.maintenance.count_words import count_words as count

    with runtime_for() as runtime:
        counted = count(runtime)
    echo_json({"run": str(counted.id), **counted.counts})
