"""Commands that answer with audio."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import click

from flows.cli.options import ALLOW_LOSS, OUTPUT_FORMAT, Command, FiniteRange, request_options
from flows.cli.output import echo_json, runtime_for
from flows.pipeline.generation.request import JUDGE, METHOD, AudioOptions, DenoisingMethod

if TYPE_CHECKING:
    from flows.pipeline.generation.generate import TextTask
    from flows.pipeline.generation.job import Generated
    from flows.pipeline.runtime.resources import Runtime


def audio_options(command: Command) -> Command:
    """Give a command the options of generated audio, and those for where it goes."""
    out = click.option("--out", metavar="DIR_OR_S3_URI", help="Copy the audio there under readable names.")
    return request_options(AudioOptions, {"format": "--audio"})(out(OUTPUT_FORMAT(command)))


def text_options(seconds: float) -> Callable[[Command], Command]:
    """Return a decorator that gives a command its texts and the length of an answer."""
    texts = click.argument("texts", metavar="TEXT...", nargs=-1, required=True)
    duration = click.option(
        "--duration",
        "seconds",
        type=FiniteRange(0, 30, min_open=True),
        default=seconds,
        show_default=True,
        help="Seconds of each answer, rounded to blocks of 0.24 s.",
    )

    def decorate(command: Command) -> Command:
        return texts(duration(audio_options(command)))

    return decorate


@click.command()
@text_options(0.72)
@click.option("--judge", is_flag=True, help=JUDGE)
def speak(**options: Any) -> None:
    """Speak texts, and print where the audio is.

    The clips of the library show how. A second run skips everything that is done.
    """
    answer_texts("speech", **options)


@click.command()
@text_options(0.96)
def sound(**options: Any) -> None:
    """Make the sounds that texts name, and print where they are.

    The clips of the library show how. A second run skips everything that is done.
    """
    answer_texts("sound", **options)


@click.command()
@click.argument("place", metavar="DIR_OR_S3_URI")
@click.option(
    "--slice-seconds",
    "seconds",
    type=FiniteRange(0, 30),
    default=0.48,
    show_default=True,
    help="Length of the slices that a clip is denoised in, rounded to blocks of 0.24 s. 0: the whole clip.",
)
@click.option(
    "--method",
    type=click.Choice(get_args(DenoisingMethod)),
    default="auto",
    show_default=True,
    help=METHOD,
)
@ALLOW_LOSS
@audio_options
def denoise(
    place: str,
    seconds: float,
    out: str | None,
    layout: str,
    allow_loss: bool,
    method: DenoisingMethod,
    **options: Any,
) -> None:
    """Remove noise from clips, and print where the audio is.

    Every clip of the folder or S3 prefix is answered without its noise, or as it is where no method helps.
    Clips that cannot be used are listed with the reason. A second run skips everything that is done.
    """
    from flows.pipeline.generation.job import run_denoising
    from flows.pipeline.nights.side_by_side import side_by_side
    from flows.pipeline.runs.partition import partition_of

    with runtime_for(place) as runtime:
        partition = partition_of(place, allow_loss=allow_loss)
        request = AudioOptions(**options).with_seconds(seconds)
        done = run_denoising(runtime, partition, request, side_by_side, method=method)
        if choice := done.record.choice:
            click.echo(choice.reason, err=True)
        echo_audio(runtime, done, out, layout)


def answer_texts(
    task: "TextTask",
    texts: tuple[str, ...],
    seconds: float,
    out: str | None,
    layout: str,
    judge: bool = False,
    **options: Any,
) -> None:
    """Answer texts with audio, and print where each answer is."""
    from flows.pipeline.generation.job import run_texts
    from flows.pipeline.generation.texts import given_texts
    from flows.pipeline.nights.side_by_side import side_by_side

    with runtime_for() as runtime:
        request = AudioOptions(**options).with_seconds(seconds)
        done = run_texts(runtime, task, request, given_texts(texts), side_by_side, judge=judge)
        if done.record.remark:
            click.echo(done.record.remark, err=True)
        echo_audio(runtime, done, out, layout)


def echo_audio(runtime: "Runtime", done: "Generated", out: str | None, layout: str) -> None:
    """Print a line for each answer; the address of the page goes to stderr."""
    from flows.pipeline.generation.report import copied_audio, json_rows, table_lines

    copies = copied_audio(runtime, done.record, out) if out else {}
    click.echo(f"to look at and listen to: {done.run.manifest}", err=True)
    if layout == "json":
        for row in json_rows(done.record, copies):
            echo_json(row)
    else:
        click.echo("\n".join(table_lines(done.record, copies)))
