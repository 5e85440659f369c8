"""The command line. Commands are imported when they are needed, so that help and errors appear at once."""

import logging
import os
import sys
from importlib import import_module

import click

from flows.pipeline.runtime.printable import PrintableFormatter, printable

COMMANDS = {
    "flows.cli.queries.command": ("sql", "analyst-url", "export"),
    "flows.cli.audio": ("speak", "sound", "denoise"),
    "flows.cli.demo.command": ("demo",),
    "flows.cli.labeling.labels": ("label", "events", "choose-labeler", "backfill", "evaluate", "watch"),
    "flows.cli.labeling.libraries": ("library",),
    "flows.cli.models": ("models", "train", "promote", "prune"),
    "flows.cli.labeling.reviews": ("review", "review-queue", "review-import", "learn"),
    "flows.cli.runs": ("replay", "recheck", "undo", "forget", "verify", "check-answers", "count-words"),
    "flows.cli.service": (
        "up",
        "down",
        "doctor",
        "migrate",
        "explore",
        "automations",
        "metrics",
        "watchdog",
    ),
    "flows.cli.torture.command": ("torture",),
}

SECTIONS = {
    "Start": ("demo", "up", "down", "doctor"),
    "Label": ("library", "label", "events", "choose-labeler", "evaluate"),
    "Look and review": ("explore", "review", "review-queue", "review-import", "learn"),
    "Query": ("sql", "analyst-url", "export", "count-words", "check-answers"),
    "Generate": ("speak", "sound", "denoise"),
    "Nights and repair": ("watch", "backfill", "replay", "recheck", "verify", "undo", "forget"),
    "Models": ("models", "train", "promote", "prune"),
    "Operate": ("migrate", "automations", "metrics", "watchdog", "torture"),
}
"""The commands as the help lists them."""


def main() -> None:
    """Run a command. An expected error is one line on stderr and exit status 1."""
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
    """Log to stderr, here and in the Prefect processes that this one starts."""
    from flows.pipeline.runtime import json_logs

    logs = logging.StreamHandler(sys.stderr)
    if json_logs.is_asked():
        os.environ |= json_logs.PREFECT_ENVIRONMENT
        logging.captureWarnings(True)
        logs.setFormatter(json_logs.JsonFormatter())
    else:
        logs.setFormatter(PrintableFormatter("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[logs])


class LazyGroup(click.Group):
    """A group that imports the module of a command when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands, as the help has them."""
        return [name for names in SECTIONS.values() for name in names]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write what each command does, by section."""
        width = max(map(len, self.list_commands(ctx)))
        for section, names in SECTIONS.items():
            with formatter.section(section):
                formatter.write_dl(
                    [
                        (name.ljust(width), self._short_help(ctx, name, formatter.width - width - 6))
                        for name in names
                    ]
                )

    def _short_help(self, ctx: click.Context, name: str, limit: int) -> str:
        command = self.get_command(ctx, name)
        assert command
        return command.get_short_help_str(limit)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return the command of a name, or None if there is none."""
        module = next((module for module, names in COMMANDS.items() if cmd_name in names), None)
        if module is None:
            return None
        commands = [one for one in vars(import_module(module)).values() if isinstance(one, click.Command)]
        return next(one for one in commands if one.name == cmd_name)


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(package_name="wordwave")
def wordwave() -> None:
    """Turn audio into words of an LLM's vocabulary, and label it in context."""


if __name__ == "__main__":
    main()
