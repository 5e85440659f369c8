"""Commands on libraries of demonstrations."""

from typing import Any

import click

from flows.cli.options import ALLOWED_PLACES
from flows.cli.output import echo_json, echo_lines, runtime_for


@click.group()
def library() -> None:
    """Manage the libraries of demonstrations that prompts show."""


@library.command("import")
@click.argument("name")
@click.argument("manifest", metavar="MANIFEST.jsonl|FOLDER|EXPORT.json")
@click.option(
    "--task",
    type=click.Choice(["label", "speech", "sound", "denoise"]),
    default="label",
    show_default=True,
    help="Task that the library demonstrates.",
)
@click.option(
    "--instruction", metavar="TEXT", help="First sentence of the prompts of speech, sound and denoise."
)
@click.option("--promote", is_flag=True, help="Use the new version from now on.")
@ALLOWED_PLACES
def library_import(
    name: str, manifest: str, task: Any, instruction: str | None, promote: bool, allow: tuple[str, ...]
) -> None:
    """Freeze the clips of a JSONL or CSV manifest as the next version of a library.

    A folder has folders that are named by label: dog/1.wav, bell/1.wav. That of a bucket is named with a
    slash at its end. The JSON export of a Label Studio project gives each annotated clip, where its task has
    the clip's place.

    The first version is in use at once: NAME without a version means it. Later versions are used only after
    they are promoted, with --promote or `wordwave library use`.

    A row is {"path": ..., "label": ...}, for speech and sound {"path": ..., "text": ...}, and for denoise
    {"path": ..., "target": ...}: a noisy clip and its clean one. Clips that have several labels at once, or
    none, have rows {"path": ..., "labels": ["dog", "rain"]}; in a CSV file, semicolons separate them. Paths
    are relative to the manifest. Equal content keeps its version.
    """
    from flows.pipeline.labeling.library_review import review
    from flows.pipeline.libraries.by_label import MULTI_LABEL, all_labels
    from flows.pipeline.libraries.folders import is_folder
    from flows.pipeline.libraries.library import import_manifest
    from flows.pipeline.storage.uris import canonical

    place = manifest if is_folder(manifest) else canonical(manifest).rpartition("/")[0]
    with runtime_for(place, *allow) as runtime:
        version, _ = import_manifest(runtime, name, manifest, task, instruction, promote=promote)
        reviewed = review(runtime, version)
    answers = {row.label or row.target_content_sha256 for row in version.demonstrations}
    number = len(all_labels(version.demonstrations) if version.task == MULTI_LABEL else answers)
    kind = {"label": "labels", "denoise": "clean clips"}.get(task, "texts")
    size = f"{len(version.demonstrations)} clips, {number} {kind}"
    echo_lines([f"{version.name}@{version.version}: {size}", *reviewed.sentences], err=True)
    echo_json({"library": version.name, "version": version.version})


@library.command("list")
def library_list() -> None:
    """List all libraries with their versions, and which version is in use."""
    from db.engine import session_scope
    from db.libraries import list_versions
    from flows.pipeline.labeling.library_review import library_lines

    with runtime_for() as runtime, session_scope(runtime.engine) as session:
        versions = list_versions(session)
    echo_lines(library_lines(versions))


@library.command("show")
@click.argument("library", metavar="NAME[@VERSION]")
def library_show(library: str) -> None:
    """Show a version: its labels and clips, whether it is in use, and whether it fits the LLM."""
    from flows.pipeline.labeling.library_review import named_library, review, review_lines

    with runtime_for() as runtime:
        reviewed = review(runtime, named_library(runtime, library))
    echo_lines(review_lines(reviewed))


@library.command("diff")
@click.argument("new", metavar="NAME@VERSION")
@click.argument("old", metavar="[OTHER]", required=False)
def library_diff(new: str, old: str | None) -> None:
    """Show how a version differs from OTHER, or from the version in use."""
    from flows.pipeline.labeling.library_review import difference_lines, named_library

    with runtime_for() as runtime:
        newer = named_library(runtime, new)
        lines = difference_lines(named_library(runtime, old or newer.name), newer)
    echo_lines(lines)


@library.command("use")
@click.argument("library", metavar="NAME@VERSION")
def library_use(library: str) -> None:
    """Use a version from now on: NAME without a version means it, also in tonight's run."""
    from flows.pipeline.labeling.library_review import put_into_use, review

    with runtime_for() as runtime:
        reviewed = review(runtime, put_into_use(runtime, library))
    echo_lines(reviewed.sentences, err=True)
    echo_json({"library": reviewed.version.name, "version": reviewed.version.version})


@library.command("lint")
@click.argument("library", metavar="NAME[@VERSION]")
def library_lint(library: str) -> None:
    """Check a version for what a person should look at.

    That is canaries that are demonstrations, clips that sound the same, labels that look wrong, uneven or
    unused labels, and prompts near the LLM's limit. The exit status is 1 if something is found.
    """
    import sys

    from flows.pipeline.labeling.library_review import name_of, named_library
    from flows.pipeline.reviews.lint import lint

    with runtime_for() as runtime:
        version = named_library(runtime, library)
        found = list(lint(runtime, version))
    echo_lines(found or [f"{name_of(version)}: nothing to look at"])
    sys.exit(1 if found else 0)


@library.command("export")
@click.argument("library", metavar="NAME[@VERSION]")
def library_export(library: str) -> None:
    """Print a version as the manifest from which `wordwave library import` makes it again."""
    from flows.pipeline.labeling.library_review import named_library
    from flows.pipeline.libraries.manifest import manifest_rows

    with runtime_for() as runtime:
        version = named_library(runtime, library)
    for row in manifest_rows(version):
        echo_json(row)


@library.command("cut")
@click.argument("recording", type=click.Path(exists=True, dir_okay=False))
@click.argument("labels", metavar="LABELS.txt", type=click.Path(exists=True, dir_okay=False))
@click.argument("folder", type=click.Path(file_okay=False))
def library_cut(recording: str, labels: str, folder: str) -> None:
    """Cut a recording by the labels that Audacity exported, and write the manifest of a library.

    Each region becomes a FLAC file in FOLDER, and FOLDER/library.jsonl is what `wordwave library import`
    takes.
    """
    from pathlib import Path

    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.libraries.audacity import cut, read_regions

    regions = read_regions(Path(labels).read_text(encoding="utf-8-sig"))
    echo_lines([str(cut(Settings(), Path(recording), regions, Path(folder)))])


NIGHTS = click.option(
    "--nights",
    type=click.IntRange(0, 366),
    default=7,
    show_default=True,
    help="Last nights of each place of the library.",
)


@library.command("compare")
@click.argument("library", metavar="NAME@VERSION")
@click.argument("champion", metavar="[OTHER]", default="")
@click.option(
    "--labeler", metavar="NAME", default="default", help="Labeler of the challenger, if not the chosen one."
)
@NIGHTS
def library_compare(library: str, champion: str, labeler: str, nights: int) -> None:
    """Answer the last nights by a challenger, and compare it with what answers now, or with OTHER.

    The challenger is a version, another labeler of the version in use, or the version in use with other
    models set. Both are scored on random reviews and canaries that neither version shows. Nothing is put into
    use; the page of the comparison has examples to listen to.
    """
    from flows.pipeline.reviews.challenge import challenge
    from flows.pipeline.reviews.report import comparison_page, contest_lines

    with runtime_for() as runtime:
        contest, run = challenge(runtime, library, champion, labeler, nights)
        page = comparison_page(runtime.settings.explore_url, run.id)
    echo_lines([*contest_lines(contest), page])


@library.command("promote")
@click.argument("library", metavar="NAME@VERSION")
@NIGHTS
def library_promote(library: str, nights: int) -> None:
    """Put a version into use, and answer the last nights again by it; `wordwave undo` takes it back."""
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.reviews.learning import promote_library

    with runtime_for() as runtime:
        promotion, run = promote_library(runtime, library, side_by_side, nights)
    echo_json(
        {"run": str(run.id), "before": promotion.before, "now": promotion.now, "moved": promotion.moved}
    )
