"""Commands on reviews: what to review, the pages to decide on, decisions from files, and learning."""

from typing import Literal

import click

from flows.cli.options import ALLOWED_PLACES
from flows.cli.output import echo_json, echo_lines, runtime_for
from flows.cli.service import PORT

Rule = Literal["auto", "ask", "never"]


@click.command()
@click.argument("library", required=False)
@click.option("--port", type=PORT, default=4201, show_default=True, help="Port to listen on.")
@ALLOWED_PLACES
def review(library: str | None, port: int, allow: tuple[str, ...]) -> None:
    """Serve the pages on which people decide what clips are.

    They are those of `wordwave explore`, opened at the queue of a library. They read as an analyst and write
    decisions, nothing else. `wordwave up` serves them too.
    """
    from flows.cli.service import serve_pages

    serve_pages(port, "/reviews" if library is None else f"/reviews?library={library}", allow)


@click.command("review-queue")
@click.argument("library", metavar="NAME[@VERSION]")
@click.option("--size", type=click.IntRange(1, 500), default=10, show_default=True, help="Clips to review.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a CSV file to decide in.")
@click.option(
    "--label-studio",
    "project",
    metavar="FOLDER",
    type=click.Path(file_okay=False),
    help="Write tasks and labeling config of a Label Studio project into FOLDER.",
)
@click.option(
    "--audio-url",
    show_default="{uri}",
    metavar="TEMPLATE",
    help="Where Label Studio finds a clip: {uri}, or an address with {bucket} and {path}.",
)
def review_queue(library: str, size: int, as_csv: bool, project: str | None, audio_url: str | None) -> None:
    """Choose the clips whose review is worth most, and print those that wait.

    Each night does this for its library. A fifth of them are drawn at random: they measure how many answers
    are right, and never become demonstrations.
    """
    from pathlib import Path

    from flows.pipeline.reviews.choosing import queue_library
    from flows.pipeline.reviews.exchange.csv_file import csv_lines
    from flows.pipeline.reviews.exchange.label_studio_tasks import write_project
    from flows.pipeline.reviews.report import queue_lines

    if as_csv and project is not None:
        raise click.UsageError("--csv and --label-studio are two ways to decide: give one of them")
    if audio_url is not None and project is None:
        raise click.UsageError("--audio-url says where Label Studio finds a clip: add --label-studio FOLDER")
    with runtime_for() as runtime:
        queue = queue_library(runtime, library, size)
        if project is not None:
            echo_lines(
                str(path) for path in write_project(runtime, queue, Path(project), audio_url or "{uri}")
            )
            return
    echo_lines(csv_lines(queue) if as_csv else queue_lines(queue))


@click.command("review-import")
@click.argument("file", type=click.Path(exists=True, dir_okay=False))
@click.option("--reviewer", default="", metavar="NAME", help="Who decided, where the file does not say.")
def review_import(file: str, reviewer: str) -> None:
    """Store the decisions of a CSV file that `wordwave review-queue --csv` printed, or of Label Studio.

    In a CSV file each row with a decided_label, or the verdict none or skip, is a decision. Of Label Studio
    it takes the JSON export of a project that `--label-studio` wrote. The same file again adds nothing.
    """
    from pathlib import Path

    from flows.pipeline.files.label_studio import is_export
    from flows.pipeline.reviews.exchange.csv_file import import_decisions
    from flows.pipeline.reviews.exchange.label_studio_decisions import import_annotations

    name, text = Path(file).name, Path(file).read_text(encoding="utf-8-sig")
    with runtime_for() as runtime:
        if not is_export(text):
            echo_json({"new": import_decisions(runtime, name, text, reviewer)})
            return
        imported = import_annotations(runtime, name, text, reviewer)
    echo_lines(imported.remarks, err=True)
    echo_json({"new": imported.new})


@click.command()
@click.argument("library")
@click.option(
    "--promote",
    "rule",
    type=click.Choice(["auto", "ask", "never"]),
    default="auto",
    show_default=True,
    help="auto: put the new version into use if it is better for sure, else ask.",
)
@click.option(
    "--nights",
    type=click.IntRange(0, 366),
    default=7,
    show_default=True,
    help="Last nights of each place to answer again.",
)
def learn(library: str, rule: Rule, nights: int) -> None:
    """Make the next version of a library from what people decided.

    It is scored against the version in use on random reviews, canaries and left-out decisions, and what it
    would change is listed, before it is put into use. `wordwave undo` takes a promotion back.
    """
    from flows.pipeline.labeling.library_review import name_of
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.reviews.learning import promote_library, propose
    from flows.pipeline.reviews.report import morning_line, proposal_lines

    with runtime_for() as runtime:
        proposal, _ = propose(runtime, library, nights)
        echo_lines(proposal_lines(proposal), err=True)
        name, promotion, run = name_of(proposal.new), None, None
        if (rule == "auto" and proposal.scores.is_better) or (rule != "never" and _agrees(name)):
            promotion, run = promote_library(runtime, name, side_by_side, nights)
        echo_lines([morning_line(proposal, promotion)], err=True)
    echo_json(
        {
            "library": proposal.new.name,
            "version": proposal.new.version,
            "promoted": promotion is not None,
            "run": str(run.id) if run else None,
        }
    )


def _agrees(name: str) -> bool:
    """Ask a person at a terminal; elsewhere nobody agrees."""
    import sys

    return sys.stdin.isatty() and click.confirm(f"Put {name} into use?", err=True)
