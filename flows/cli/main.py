"""The command line. Commands import what they need when they run, so that help and errors come at once."""

import json
import logging
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

from core.evaluation.paper import Layout, TaskName
from flows.cli.options import (
    ALLOW_LOSS,
    MIN_CLIPS,
    OUTPUT_FORMAT,
    SHARE,
    Command,
    FiniteRange,
    request_options,
)
from flows.pipeline.generation.request import AudioOptions
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.runtime.printable import PrintableFormatter, printable

if TYPE_CHECKING:
    from flows.pipeline.generation.generate import TextTask
    from flows.pipeline.generation.job import Generated
    from flows.pipeline.runs.check import Check
    from flows.pipeline.runtime.runtime import Runtime


def main() -> None:
    """Runs a command; what went wrong on purpose is one line on stderr and exit status 1."""
    from flows.flow_runs.own_server import without_proxy

    _configure_logs()
    os.environ |= without_proxy()
    try:
        wordwave()
    except Exception as error:
        from flows.flow_runs.explain import explain

        message = explain(error)
        if message is None:
            raise
        for line in f"Error: {message}".split("\n"):
            click.echo(printable(line), err=True)
        sys.exit(1)


def _configure_logs() -> None:
    """Log to stderr, here and in the processes of Prefect that this one starts."""
    from flows.pipeline.runtime import json_logs

    logs = logging.StreamHandler(sys.stderr)
    if json_logs.is_asked():
        os.environ |= json_logs.PREFECT_ENVIRONMENT
        logging.captureWarnings(True)
        logs.setFormatter(json_logs.JsonFormatter())
    else:
        logs.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[logs])


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="wordwave")
def wordwave() -> None:
    """Turns audio into words of an LLM's vocabulary and labels it in context."""


@contextmanager
def runtime_for(*places: str) -> Iterator["Runtime"]:
    """A runtime that may read the places named on the command line."""
    from flows.pipeline.configuration.home import close_home
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.otlp import send_traces
    from flows.pipeline.runtime.runtime import Runtime

    settings = Settings().reading(*places)
    close_home(settings)
    send_traces()
    runtime = Runtime(settings)
    try:
        yield runtime
    finally:
        runtime.close()


def echo_json(value: Any) -> None:
    """One JSON object on one line of stdout."""
    click.echo(printable(json.dumps(value, ensure_ascii=False)))


def echo_checks(checks: "Iterable[Check]") -> None:
    """Each check as it is made; exit status 1 where one failed."""
    healthy = True
    for check in checks:
        healthy = healthy and check.passed
        click.echo(printable(f"{check.verdict:<4} {check.name:<12} {check.finding}"))
        if check.remedy:
            click.echo(f"     {'':<12} -> {check.remedy}")
    sys.exit(0 if healthy else 1)


@wordwave.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.option("--format", "layout", type=click.Choice(["table", "json"]), default="table", show_default=True)
@ALLOW_LOSS
@request_options(LabelRequest)
def label(place: str, layout: str, allow_loss: bool, **options: Any) -> None:
    """Label every clip of a folder or S3 prefix, in listing order.

    Clips that cannot be used are listed with the reason. A second run does nothing that is done.
    """
    from flows.pipeline.labeling.report import json_rows, table_lines
    from flows.pipeline.nights.bounds import doubts
    from flows.pipeline.nights.jobs import run_night, with_bar
    from flows.pipeline.runs.partition import partition_of

    with runtime_for(place) as runtime:
        request = LabelRequest(**options)
        partition = partition_of(place, allow_loss=allow_loss)
        night = run_night(runtime, partition, request, with_bar, kind="label", export=False)
    if layout == "json":
        for row in json_rows(night.answers):
            echo_json(row)
    else:
        click.echo("\n".join(table_lines(night.answers)))
    for doubt in doubts(night.figures):
        click.echo(f"doubtful: {doubt}", err=True)


def audio_options(command: Command) -> Command:
    """Give a command the options of generated audio, and those that say where its answers go."""
    out = click.option("--out", metavar="DIR_OR_S3_URI", help="Copy the audio there under readable names.")
    return request_options(AudioOptions, {"format": "--audio"})(out(OUTPUT_FORMAT(command)))


def answer_texts(
    task: "TextTask", texts: tuple[str, ...], seconds: float, out: str | None, layout: str, **options: Any
) -> None:
    """Answers texts and prints where the audio of each is."""
    from flows.pipeline.generation.job import run_texts
    from flows.pipeline.generation.texts import given_texts
    from flows.pipeline.nights.jobs import with_bar

    with runtime_for() as runtime:
        request = AudioOptions(**options).with_seconds(seconds)
        done = run_texts(runtime, task, request, given_texts(texts), with_bar)
        echo_audio(runtime, done, out, layout)


def echo_audio(runtime: "Runtime", done: "Generated", out: str | None, layout: str) -> None:
    """One line for each thing asked; the page's address goes to stderr."""
    from flows.pipeline.generation.report import copied_audio, json_rows, table_lines

    copies = copied_audio(runtime, done.record, out) if out else {}
    click.echo(f"to look at and listen to: {done.run.manifest}", err=True)
    if layout == "json":
        for row in json_rows(done.record, copies):
            echo_json(row)
    else:
        click.echo("\n".join(table_lines(done.record, copies)))


@wordwave.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option(
    "--duration",
    "seconds",
    type=FiniteRange(0, 30, min_open=True),
    default=0.72,
    show_default=True,
    help="Seconds.",
)
@audio_options
def speak(**options: Any) -> None:
    """Say texts as the clips of a library are said, and print where the audio is.

    Seconds are rounded to blocks of 0.24 s. A second run does nothing that is done.
    """
    answer_texts("speech", **options)


@wordwave.command()
@click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
@click.option(
    "--duration",
    "seconds",
    type=FiniteRange(0, 30, min_open=True),
    default=0.96,
    show_default=True,
    help="Seconds.",
)
@audio_options
def sound(**options: Any) -> None:
    """Make the sounds that texts name, as the clips of a library show, and print where the audio is.

    Seconds are rounded to blocks of 0.24 s. A second run does nothing that is done.
    """
    answer_texts("sound", **options)


@wordwave.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.option(
    "--slice-seconds",
    "seconds",
    type=FiniteRange(0, 30),
    default=0.48,
    show_default=True,
    help="Seconds that are asked at once; 0: the whole clip.",
)
@ALLOW_LOSS
@audio_options
def denoise(
    place: str, seconds: float, out: str | None, layout: str, allow_loss: bool, **options: Any
) -> None:
    """Say every clip of a folder or S3 prefix without its noise, and print where the audio is.

    Clips that cannot be used are listed with the reason. A second run does nothing that is done.
    """
    from flows.pipeline.generation.job import run_denoising
    from flows.pipeline.nights.jobs import with_bar
    from flows.pipeline.runs.partition import partition_of

    with runtime_for(place) as runtime:
        partition = partition_of(place, allow_loss=allow_loss)
        request = AudioOptions(**options).with_seconds(seconds)
        done = run_denoising(runtime, partition, request, with_bar)
        echo_audio(runtime, done, out, layout)


@wordwave.command()
@click.argument("prefix", metavar="PREFIX")
@click.option("--first-day", type=click.DateTime(["%Y-%m-%d"]), required=True)
@click.option("--last-day", type=click.DateTime(["%Y-%m-%d"]), required=True, help="Itself among the days.")
@click.option("--timezone", default="UTC", show_default=True, help="Where days begin.")
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
    """Do the nights of a range of days, as far as they miss something; other days are left alone.

    {day} in PREFIX becomes the day; without it, a day's clips are those last modified in it.
    """
    from flows.pipeline.labeling.label import Labelling
    from flows.pipeline.nights.backfill import backfill as backfill_days
    from flows.pipeline.nights.backfill import raise_failures
    from flows.pipeline.nights.bounds import raise_doubts
    from flows.pipeline.nights.jobs import run_night, with_bar
    from flows.pipeline.runs.days import check_timezone
    from flows.pipeline.runs.partition import Partition, partitions_of

    request = LabelRequest(**options)

    def run_day(day: Partition) -> None:
        night = run_night(
            runtime,
            day,
            request,
            with_bar,
            kind="nightly-labeling",
            export=True,
            least_clips=least_clips,
        )
        raise_doubts(night.figures)

    days = partitions_of(
        prefix, first_day.date(), last_day.date(), check_timezone(timezone), allow_loss=allow_loss
    )
    with runtime_for(*{day.place for day in days}) as runtime:
        outcomes = backfill_days(Labelling(runtime, request), days, run_day)
    for outcome in outcomes:
        click.echo(f"{outcome.partition.day}  {outcome.status}")
    raise_failures(outcomes, least_clips)


@wordwave.command()
@click.argument("manifest", metavar="MANIFEST.jsonl")
@click.option("--n-way", type=click.IntRange(2, 64), default=2, show_default=True, help="Labels.")
@click.option("--k-shot", type=click.IntRange(1, 64), default=1, show_default=True, help="Shots of each.")
@click.option("--episodes", type=click.IntRange(1, 100_000), default=600, show_default=True)
@click.option(
    "--layout",
    type=click.Choice(get_args(Layout)),
    default="single",
    show_default=True,
    help="prompts: the columns of the paper's Tables 2 and 8; ways: those of its Table 9.",
)
@click.option(
    "--paper",
    type=click.Choice(get_args(TaskName)),
    default="none",
    show_default=True,
    help="Task of the paper whose figures stand beside.",
)
@click.option("--instruction/--no-instruction", default=True, show_default=True)
@request_options(LabelRequest, only=["repeats", "layers", "max_windows", "orders"])
@click.option(
    "--window", type=click.IntRange(0, 512), default=0, help="Semantic codes; 0: as it was trained."
)
@click.option(
    "--protocol",
    type=click.Choice(["service", "paper"]),
    default="service",
    show_default=True,
    help="paper: clips of 1 second, greedy decoding.",
)
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--allow", multiple=True, metavar="PLACE", help="A further place that rows may name.")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="File for the JSON, beside the kept one.")
def evaluate(manifest: str, allow: tuple[str, ...], form: str, output: Path | None, **options: Any) -> None:
    """Ask few-shot episodes of clips whose labels are known, beside baselines and the paper.

    A row of the manifest is {"path": ..., "label": ..., "group": ...}; no demonstration is of the query's
    group. The models are those of the settings; without an LLM the baselines are asked alone.
    """
    from core.evaluation.tables import table_lines
    from flows.pipeline.evaluation.evaluate import EvaluationRequest, figures_json
    from flows.pipeline.evaluation.evaluate import evaluate as evaluate_manifest
    from flows.pipeline.nights.jobs import with_bar
    from flows.pipeline.storage.uris import canonical

    with runtime_for(canonical(manifest).rpartition("/")[0], *allow) as runtime:
        evaluation, run = evaluate_manifest(runtime, EvaluationRequest(manifest, **options), with_bar)
        figures = figures_json(evaluation, run)
    if output:
        output.write_bytes(figures)
    click.echo(f"kept: {run.manifest}", err=True)
    click.echo(figures.decode() if form == "json" else "\n".join(table_lines(evaluation.table)))


@wordwave.command()
@click.argument("place", metavar="DIR_OR_S3_URI_OR_RUN")
@click.option("--reason", "reasons", multiple=True, help="Only clips of this reason code; may be repeated.")
@ALLOW_LOSS
def replay(place: str, reasons: tuple[str, ...], allow_loss: bool) -> None:
    """List a place and tokenize its quarantined clips again, after a fix or with other limits.

    A run, by an id or a name from its page, means its folder.
    """
    from flows.flow_runs.reference import find_place
    from flows.forms import is_place
    from flows.pipeline.maintenance.replay import replay_place
    from flows.pipeline.nights.jobs import with_bar

    is_folder = is_place(place) or Path(place).is_dir()
    with runtime_for(*([place] if is_folder else [])) as runtime:
        meant = place if is_folder else find_place(runtime, place)
        echo_json(replay_place(runtime, meant, reasons, with_bar, allow_loss=allow_loss).run.counts)


@wordwave.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.option("--dry-run", is_flag=True, help="Only say what would be read again.")
def recheck(place: str, dry_run: bool) -> None:
    """Read clips again that were stored before today's checks, and redo what came of wrong audio.

    Answers about wrong audio are retracted and asked again; clips that are refused today are quarantined.
    """
    from flows.pipeline.labeling.report import suspect_lines
    from flows.pipeline.maintenance.recheck import recheck_place, suspects_of
    from flows.pipeline.nights.jobs import with_bar

    with runtime_for(place) as runtime:
        click.echo("\n".join(suspect_lines(suspects_of(runtime, place))), err=True)
        if dry_run:
            return
        done = recheck_place(runtime, place, with_bar)
    for library in done.libraries:
        click.echo(f"{library} shows a clip that is refused today: import it again without", err=True)
    echo_json({"run": str(done.run.id), **done.run.counts})


@wordwave.command()
@click.argument("run")
def undo(run: str) -> None:
    """Take back the answers of a run: current answers are again what they were. Undo the undoing: redo.

    RUN is an id or a name from the run's page.
    """
    from flows.flow_runs.reference import find_run
    from flows.pipeline.maintenance.undo import undo as undo_run

    with runtime_for() as runtime:
        undone = undo_run(runtime, find_run(runtime, run))
    echo_json({"run": str(undone.id), **undone.counts})


@wordwave.command()
@click.argument("run")
@click.option("--sample", type=click.IntRange(1, 10_000), default=50, show_default=True, help="Clips.")
@click.option("--allow", multiple=True, metavar="PLACE", help="Where its clips may be read.")
def verify(run: str, sample: int, allow: tuple[str, ...]) -> None:
    """Compute some of what a run wrote again, and read its files again: is all as it was?

    RUN is an id or a name from the run's page.
    """
    from flows.flow_runs.reference import find_run
    from flows.pipeline.maintenance.verify import verify_run

    with runtime_for(*allow) as runtime:
        checks, _ = verify_run(runtime, find_run(runtime, run), sample)
    echo_checks(checks)


@wordwave.command()
@click.argument("library", metavar="NAME[@VERSION]")
def promote(library: str) -> None:
    """Make the answers of a library version by the models of the settings the current ones."""
    from flows.pipeline.maintenance.upgrade import promote_models

    with runtime_for() as runtime:
        switch, _ = promote_models(runtime, library)
    echo_json(vars(switch))


@wordwave.command()
@click.argument("codec", metavar="FINGERPRINT")
def prune(codec: str) -> None:
    """Delete the codes of a codec that is no longer used, as the database's owner; its answers stay.

    FINGERPRINT is the codec's, or the beginning of it, as the column codec_fingerprint shows it.
    """
    from flows.pipeline.maintenance.upgrade import prune as prune_codec

    with runtime_for() as runtime:
        echo_json(prune_codec(runtime, codec).counts)


@wordwave.group()
def library() -> None:
    """Demonstrations that stand in the prompt."""


@library.command("import")
@click.argument("name")
@click.argument("manifest", metavar="MANIFEST.jsonl")
@click.option(
    "--task",
    type=click.Choice(["label", "speech", "sound", "denoise"]),
    default="label",
    show_default=True,
    help="What the library demonstrates.",
)
@click.option("--instruction", metavar="TEXT", help="Begins the prompts of speech, sound and denoise.")
@click.option("--promote", is_flag=True, help="Put the version into use, in place of the one before.")
@click.option("--allow", multiple=True, metavar="PLACE", help="A further place that rows may name.")
def library_import(
    name: str, manifest: str, task: Any, instruction: str | None, promote: bool, allow: tuple[str, ...]
) -> None:
    """Freeze the clips of a JSONL or CSV manifest as the next version of a library.

    The first version is in use at once: NAME without a version means it. A later one changes nothing until
    it is promoted, here or by `wordwave library use`.

    A row is {"path": ..., "label": ...}; for speech and sound {"path": ..., "text": ...}, for denoise
    {"path": ..., "target": ...}, a noisy clip and its clean one. Paths are relative to the manifest. Equal
    content keeps its version.
    """
    from flows.pipeline.labeling.library_review import review
    from flows.pipeline.nights.jobs import import_manifest
    from flows.pipeline.storage.uris import canonical

    with runtime_for(canonical(manifest).rpartition("/")[0], *allow) as runtime:
        version, _ = import_manifest(runtime, name, manifest, task, instruction, promote=promote)
        reviewed = review(runtime, version)
    answers = {row.label or row.target_content_sha256 for row in version.demonstrations}
    kind = {"label": "labels", "denoise": "clean clips"}.get(task, "texts")
    size = f"{len(version.demonstrations)} clips, {len(answers)} {kind}"
    for line in (f"{version.name}@{version.version}: {size}", *reviewed.sentences):
        click.echo(printable(line), err=True)
    echo_json({"library": version.name, "version": version.version})


@library.command("list")
def library_list() -> None:
    """List all libraries with their versions, and which one is in use."""
    from db.engine import session_scope
    from db.libraries import list_versions
    from flows.pipeline.labeling.report import library_lines

    with runtime_for() as runtime, session_scope(runtime.engine) as session:
        versions = list_versions(session)
    click.echo("\n".join(map(printable, library_lines(versions))))


@library.command("show")
@click.argument("library", metavar="NAME[@VERSION]")
def library_show(library: str) -> None:
    """Show a version: labels with counts, whether it is in use and fits the LLM, and its clips."""
    from flows.pipeline.labeling.library_review import named_library, review
    from flows.pipeline.labeling.report import review_lines

    with runtime_for() as runtime:
        reviewed = review(runtime, named_library(runtime, library))
    click.echo("\n".join(map(printable, review_lines(reviewed))))


@library.command("diff")
@click.argument("new", metavar="NAME@VERSION")
@click.argument("old", metavar="[OTHER]", required=False)
def library_diff(new: str, old: str | None) -> None:
    """Say how a version differs from OTHER, or from the version in use."""
    from flows.pipeline.labeling.library_review import difference_lines, named_library

    with runtime_for() as runtime:
        newer = named_library(runtime, new)
        lines = difference_lines(named_library(runtime, old or newer.name), newer)
    click.echo("\n".join(map(printable, lines)))


@library.command("use")
@click.argument("library", metavar="NAME@VERSION")
def library_use(library: str) -> None:
    """Put a version into use: NAME without a version means it from now on, as for tonight's run."""
    from flows.pipeline.labeling.library_review import put_into_use, review

    with runtime_for() as runtime:
        reviewed = review(runtime, put_into_use(runtime, library))
    for line in reviewed.sentences:
        click.echo(printable(line), err=True)
    echo_json({"library": reviewed.version.name, "version": reviewed.version.version})


@wordwave.group()
def models() -> None:
    """Model files."""


@models.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--words", type=click.Path(exists=True, path_type=Path), help="layer1.npy, or one word a line.")
@click.option("--llama-embeddings", type=click.Path(exists=True, path_type=Path), help="embed_llama2.pt")
@click.option("--word-embeddings", type=click.Path(exists=True, path_type=Path), help="layer1.pth")
@click.option("--tokenizer", type=click.Path(exists=True, path_type=Path), help="LLAMA 2's: words in SQL.")
@click.option("--config", type=click.Path(exists=True, path_type=Path), help="config.json of another shape.")
@click.option(
    "--first-codebook",
    type=click.Choice(["words", "llama"]),
    default="words",
    show_default=True,
    help="llama: the other published checkpoint, whose semantic layer has 32,000 rows.",
)
def convert(checkpoint: Path, output: Path, first_codebook: Any, config: Path | None, **files: Any) -> None:
    """Turn the released LLM-Codec files into a directory with a fingerprint."""
    from core.codec import CodecConfig
    from core.codec.convert import ReleasedFiles
    from core.codec.convert import convert as convert_files

    shape = CodecConfig.from_json(config) if config else CodecConfig()
    files_given = ReleasedFiles(checkpoint, **files)
    codec = convert_files(files_given, output, config=shape, first=first_codebook)
    echo_json({"directory": str(output), "fingerprint": codec.fingerprint})


@models.command("convert-embedding")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--model", type=click.Choice(["yamnet"]), default="yamnet", show_default=True, help="What it is."
)
@click.option(
    "--classes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with display_name, or one name a line; unset: that of the wheel.",
)
def convert_embedding_command(file: Path, output: Path, model: str, classes: Path | None) -> None:
    """Turn FILE, an ONNX network or a wheel that has one, into the directory of an embedding model."""
    from core.embeddings.convert import convert_embedding
    from core.embeddings.recipes import RECIPES

    converted = convert_embedding(file, output, RECIPES[model], classes=classes)
    description = converted.description
    echo_json(
        {
            "directory": str(output),
            "fingerprint": description.fingerprint,
            "dimensions": description.dimensions,
            "classes": len(description.classes),
            "license": description.license,
            "embedding_cosine": round(converted.embedding_cosine, 4),
            "scores_cosine": round(converted.scores_cosine, 4),
        }
    )


@wordwave.group()
def train() -> None:
    """Train models of one's own; the shipped ones were made by these commands."""


@train.command("codec")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of further real audio.")
def train_codec_command(config: Path, output: Path, data: Path | None) -> None:
    """Train an LLM-Codec by CONFIG (core/training/configs); an interrupted training goes on where it was."""
    from core.training.codec.trainer import train_codec

    train_codec(config, output, data=data)


@train.command("mini")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder of further real audio.")
def train_mini_command(config: Path, output: Path, data: Path | None) -> None:
    """Train a small LLaMA on few-shot episodes, so that it learns from its prompt."""
    from core.training.label_llm.trainer import train_mini

    train_mini(config, output, data=data)


@train.command("mini-audio")
@click.argument("config", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("output", type=click.Path(path_type=Path))
@click.option(
    "--data",
    type=click.Path(exists=True, path_type=Path),
    required=True,
    help="Folder of the sets digits and speech_clean.",
)
def train_mini_audio_command(config: Path, output: Path, data: Path) -> None:
    """Train a small LLaMA that answers with audio; an interrupted training goes on where it was."""
    from core.training.audio_llm.trainer import train_answers

    train_answers(config, output, data=data)


@wordwave.command()
def doctor() -> None:
    """Check settings, database, storage, models and device; say what to do about what is wrong."""
    from flows.server.health import examine_service
    from flows.server.process import ServerSettings

    settings = ServerSettings()
    for name, value in settings.describe().items():
        click.echo(f"  {name:<34}{value}")
    echo_checks(examine_service(settings))


@wordwave.command()
def migrate() -> None:
    """Bring the database to this version's schema (WORDWAVE_OWNER_DATABASE_URL, or the embedded one)."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import migrate as migrate_database

    click.echo(f"at the newest schema: {migrate_database(Settings())}", err=True)


@wordwave.command()
@click.option("--port", type=click.IntRange(1, 65535), default=4200, show_default=True, help="Of the UI.")
@click.option(
    "--nightly",
    multiple=True,
    metavar="PREFIX",
    help="Label this every night, as in s3://calls/{day}; once for each place.",
)
@click.option("--library", multiple=True, metavar="NAME[@VERSION]", help="Library of the nightly run.")
@click.option("--at", multiple=True, type=click.DateTime(["%H:%M"]), default=["02:00"], show_default="02:00")
@click.option(
    "--timezone", multiple=True, default=["UTC"], show_default="UTC", help="Of the nightly run and its days."
)
def up(port: int, nightly: tuple[str, ...], **each: tuple[Any, ...]) -> None:
    """Start Postgres, the Prefect server with its UI and all flows; Ctrl-C ends them.

    Each --nightly makes a deployment with a schedule, once: from then on it is changed in the UI, and a
    restart leaves it alone. Where it is repeated, so are --library, --at and --timezone, in the same order;
    one that is given once is for all.
    """
    from flows.server.interruption import exit_when_interrupted

    exit_when_interrupted()
    from flows.server.places import Night, deployment_name
    from flows.server.up import run_up

    values = {option: _one_each(option, given, len(nightly)) for option, given in each.items()}
    nights = [
        Night(prefix, library, at.time(), timezone)
        for prefix, library, at, timezone in zip(
            nightly, values["library"], values["at"], values["timezone"], strict=True
        )
    ]
    if len({deployment_name(night.prefix) for night in nights}) < len(nights):
        raise click.UsageError("a place is given twice: --nightly names each place once")
    run_up(port, nights)


def _one_each(option: str, given: tuple[Any, ...], number: int) -> tuple[Any, ...]:
    """The value of each --nightly, of which one alone is for all."""
    if number == 0 and option == "library" and given:
        raise click.UsageError("--nightly and --library go together: what is labeled, and by which library")
    if len(given) == 1:
        return given * number
    if len(given) != number:
        raise click.UsageError(
            f"--{option} is given {len(given)} times for {number} --nightly: give it once, or once for each"
        )
    return given


@wordwave.command()
@click.argument("place", metavar="PREFIX")
@click.option("--max-quarantined", type=SHARE, help="Share of the clips.")
@click.option("--max-uncertain", type=SHARE, help="Share of the answers.")
@click.option("--max-one-label", type=SHARE, help="Share of the answers that are the most frequent label.")
@click.option("--least-agreement", type=SHARE, help="Share that a nearest neighbor answers alike; 0: any.")
@click.option("--least-usual", type=SHARE, help="Share of the weekday's usual number of clips; 0: any.")
@click.option(
    "--most-usual", type=FiniteRange(0, 1000), help="Multiple of the weekday's usual number of clips; 0: any."
)
def watch(place: str, **bounds: float | None) -> None:
    """Set bounds beyond which the nights of PREFIX end as Doubtful, and print those that hold.

    PREFIX is that of its nights, with {day} where they have it, or a folder around them. What is not given
    stays as it is.
    """
    from flows.pipeline.nights.bounds import bounds_of, set_bounds
    from flows.pipeline.runs.partition import Partition
    from flows.pipeline.storage.uris import canonical

    changes = {name: bound for name, bound in bounds.items() if bound is not None}
    with runtime_for() as runtime:
        if changes:
            held = set_bounds(runtime, place, changes)
        else:
            held = bounds_of(runtime, Partition(place, canonical(place)))
    echo_json({"place": place, **vars(held)})


@wordwave.command("watchdog")
def watch_analysts() -> None:
    """End the sessions of analysts whose transaction lasts over 10 minutes, until it is stopped.

    `wordwave up` does it itself; run this one beside workers that have a Prefect server of their own.
    """
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.maintenance.analyst_watchdog import watchdog
    from flows.pipeline.runtime.database import writer_url

    with watchdog(writer_url(Settings())) as thread:
        thread.join()


@wordwave.command("metrics")
@click.option("--port", type=click.IntRange(1, 65535), default=9464, show_default=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
def serve_metrics(port: int, host: str) -> None:
    """Serve metrics of all runs at /metrics, read from the tables, until it is stopped.

    `wordwave up` does it itself where WORDWAVE_METRICS_PORT is set; run this one beside workers of your own.
    """
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import reader_url
    from flows.pipeline.runtime.exporter import exporter

    with exporter(reader_url(Settings()), port, host) as thread:
        thread.join()


@wordwave.command()
def automations() -> None:
    """Bring the automations of the Prefect server at PREFECT_API_URL up to date; `up` does it for its own.

    Runs whose process died are marked, and WORDWAVE_NOTIFICATION_BLOCK is told what went wrong.
    """
    from flows.flow_runs.own_server import found_by_clients
    from flows.server.automations import set_up
    from flows.server.process import ServerSettings

    settings = ServerSettings()
    with found_by_clients(settings.home):
        click.echo(set_up(settings.notification_block))


@wordwave.command()
@click.option("--seed", type=click.IntRange(0, 2**31 - 1), default=0, show_default=True)
@click.option("--nights", type=click.IntRange(1, 10_000), default=10, show_default=True)
def torture(seed: int, nights: int) -> None:
    """Disturb and kill nights over clips of its own in the store and database of the settings.

    Clips are put, overwritten and removed, libraries imported, runs undone, models promoted; after each step
    rows and objects are checked. Everything is deleted at the end, as the database's owner.
    """
    from flows.cli.torture.run import summary_lines
    from flows.cli.torture.run import torture as torture_store
    from flows.pipeline.configuration.settings import Settings

    report = torture_store(Settings(), seed, nights, lambda line: click.echo(line, err=True))
    click.echo("\n".join(summary_lines(report)))
    sys.exit(1 if report.found else 0)


@wordwave.command()
def down() -> None:
    """Stop the embedded Postgres; its data stays."""
    from db.embedded.server import stop
    from flows.pipeline.configuration.settings import Settings

    stopped = stop(Settings().home)
    click.echo("stopped" if stopped else "the embedded Postgres was not running", err=True)


@wordwave.command()
@click.argument("query")
def sql(query: str) -> None:
    """Ask the embedded Postgres as an analyst, who reads the views of schema analytics and nothing else."""
    from db.embedded.server import start
    from flows.cli.query import answer_lines
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.database import writer_url

    settings = Settings()
    if settings.database_url is not None:
        raise click.ClickException(
            "WORDWAVE_DATABASE_URL is set: ask it with your own client, as wordwave_analyst"
        )
    writer_url(settings)
    for line in answer_lines(start(settings.home).url("analyst"), query):
        click.echo(line)


@wordwave.command()
def demo() -> None:
    """A night on clips made here: embedded Postgres, Prefect flows, a table of answers."""
    from flows.cli.demo.show import run_demo

    run_demo()


if __name__ == "__main__":
    main()
