"""What the documentation names is there: commands, targets, files, settings, columns."""

import json
import re
import shlex
from pathlib import Path

import click
import pytest
from sqlalchemy import NullPool, create_engine

from flows.cli.main import wordwave
from flows.server.process import ServerSettings
from tests.docs.blocks import (
    LANGUAGES,
    PAGES,
    ROOT,
    all_blocks,
    blocks,
    inline_code,
    sql_statements,
)
from tests.fixtures_postgres import Database

TOP = ("core", "db", "flows", "migrations", "tests", "benchmarks", "docker", "docs")
MADE_BY_USERS = ("docker/secrets/", "docker/.env", "docs/reference/")
OUTSIDE_SETTINGS = {"WORDWAVE_SCREENSHOTS", "WORDWAVE_NO_SKIP"}
MAX_README_WORDS = 1_500

pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that words name, and what is left of them."""
    command: click.Command = wordwave
    left = words[1:]
    while isinstance(command, click.Group) and left and not left[0].startswith("-"):
        found = command.get_command(click.Context(command), left[0])
        assert found, f"there is no command {' '.join(words)}"
        command, left = found, left[1:]
    return command, left


def check_value(parameter: click.Parameter, value: object) -> None:
    """Check a value as the command would, unless it is a file that only a reader has."""
    if not isinstance(parameter.type, click.Path) and value is not None:
        values = value if isinstance(value, list | tuple) else [value]
        for one in values:
            parameter.type.convert(one, parameter, click.Context(wordwave))


def check_command(words: list[str]) -> None:
    """Check a whole command line: its options, values and arguments."""
    command, left = command_of(words)
    context = click.Context(command, info_name=" ".join(words))
    if left == ["--help"] or isinstance(command, click.Group):
        return
    values, rest, _ = command.make_parser(context).parse_args(left)
    assert rest == [], words
    for parameter in command.params:
        value = values.get(parameter.name or "")
        assert value not in (None, ()) or not parameter.required, f"{words} lacks {parameter.name}"
        if not isinstance(parameter, click.Option) or not parameter.is_flag:
            check_value(parameter, value)


@pages
def test_each_block_names_its_language_and_is_closed(page: Path) -> None:
    found = blocks(page)
    assert {block.language for block in found} <= LANGUAGES
    assert len(re.findall(r"^\s*```", page.read_text(), re.MULTILINE)) == 2 * len(found)


def test_each_mark_says_what_a_block_needs() -> None:
    for page in PAGES:
        for block in blocks(page):
            assert not block.mark or block.runs_until_stopped or re.fullmatch(r"not run: \w.+", block.mark)


@pages
def test_each_command_line_can_be_parsed(page: Path) -> None:
    for block in blocks(page):
        if block.language == "sh":
            for words in block.commands:
                if words[0] == "wordwave":
                    check_command(words)


@pages
def test_each_command_in_the_text_has_its_options(page: Path) -> None:
    for code in inline_code(page):
        if code.startswith("wordwave "):
            command, left = command_of(shlex.split(code))
            known = {name for option in command.params for name in (*option.opts, *option.secondary_opts)}
            options = {word for word in left if word.startswith("--")} - {"--help"}
            assert options <= known, code


@pages
def test_each_make_target_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    lines = [*inline_code(page), *(block.text for block in blocks(page) if block.language == "sh")]
    named = {
        name for line in lines for name in re.findall(r"^make (?:[A-Z]+=\S+ )*([a-z-]+)", line, re.MULTILINE)
    }
    assert named <= targets


@pages
def test_each_file_and_module_is_there(page: Path) -> None:
    for code in inline_code(page):
        path = code.split(" ")[0]
        if path.startswith(tuple(f"{top}/" for top in TOP)) and not path.startswith(MADE_BY_USERS):
            assert any(ROOT.glob(path.rstrip("/"))), path
        for module in re.findall(r"python -m ([\w.]+)", code):
            file = ROOT / module.replace(".", "/")
            assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module


@pages
def test_each_link_leads_to_a_file(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:|#)([^)\s]+)\)", page.read_text()):
        assert (page.parent / target.partition("#")[0]).exists(), target


@pages
def test_each_setting_is_one(page: Path) -> None:
    known = {f"WORDWAVE_{name.upper()}" for name in ServerSettings.model_fields} | OUTSIDE_SETTINGS
    assert set(re.findall(r"WORDWAVE_[A-Z0-9_]+[A-Z0-9]", page.read_text())) <= known


def test_rows_of_manifests_are_json() -> None:
    lines = [line for block in all_blocks("json") for line in block.text.splitlines()]
    assert lines
    for line in lines:
        json.loads(line)


def test_each_query_can_be_planned_by_an_analyst(database: Database) -> None:
    queries = list(sql_statements())
    assert len(queries) > 5
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        for page, query in queries:
            assert connection.exec_driver_sql(f"EXPLAIN {query}").all(), page


def test_the_readme_stays_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MAX_README_WORDS


@pytest.mark.parametrize("parent", ["core", "flows", "flows/pipeline"])
def test_the_map_of_the_code_has_every_folder(parent: str) -> None:
    folders = {f"{parent}/{path.parent.name}/" for path in (ROOT / parent).glob("*/__init__.py")}
    known = set(re.findall(r"^\| `([^`]+/)` \|", (ROOT / "docs/architecture.md").read_text(), re.MULTILINE))
    assert folders - {"flows/pipeline/"} <= known
