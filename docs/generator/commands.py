"""The page of commands, from click's own tree."""

from collections.abc import Iterator

import click

from docs.generator.markdown import code, escaped, table
from flows.cli.main import wordwave

INTRODUCTION = """# Commands

Every command has `--help`. Results go to stdout and everything else to stderr.
"""


def commands_page() -> str:
    """Return the page of all commands."""
    return "\n".join([INTRODUCTION, *(_section(path, command) for path, command in all_commands(wordwave))])


def all_commands(group: click.Group, path: str = "wordwave") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that does something, with its words on the command line."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from all_commands(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _section(path: str, command: click.Command) -> str:
    context = click.Context(command, info_name=path)
    usage = " ".join([path, *command.collect_usage_pieces(context)])
    paragraphs = (command.help or "").replace("\b", "").split("\n\n")
    text = "\n\n".join(map(escaped, paragraphs))
    rows = [_row(option, context) for option in command.params if isinstance(option, click.Option)]
    options = "\n" + table(("option", "value", "default", "meaning"), rows) if rows else ""
    return f"## {path}\n\n    {usage}\n\n{text}\n{options}"


def _row(option: click.Option, context: click.Context) -> tuple[str, ...]:
    names = ", ".join(map(code, [*option.opts, *option.secondary_opts]))
    extra = option.get_help_extra(context)
    value = "" if option.is_flag else code(extra.get("range") or option.make_metavar(context))
    if option.multiple:
        value += ", may be repeated"
    return names, value, code(_default(option, context)), _meaning(option)


def _meaning(option: click.Option) -> str:
    return " ".join(filter(None, ("Required." if option.required else "", escaped(option.help or ""))))


def _default(option: click.Option, context: click.Context) -> str:
    if isinstance(option.show_default, str):
        return option.show_default
    default = option.get_default(context)
    return "" if option.is_flag or not isinstance(default, str | int | float) else str(default)
