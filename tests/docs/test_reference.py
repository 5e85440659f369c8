"""The generated reference has everything that the code offers."""

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import get_args

import click
import pytest
import yaml
from sqlalchemy import NullPool, create_engine, text

from core.errors import ReasonCode
from db.base import Base
from db.embedded.server import EmbeddedServer
from docs.generator.__main__ import write_reference
from docs.generator.dbt import FRESHNESS, KEYS, REFERENCES, STATUSES
from flows.cli.main import wordwave
from flows.deployments import DEPLOYMENTS
from flows.server.process import ServerSettings
from tests.docs.blocks import ROOT
from tests.fixtures_postgres import Database, migrated_database


@pytest.fixture(scope="module")
def database(postgres: EmbeddedServer, migrated_template: str) -> Iterator[Database]:
    with migrated_database(postgres, migrated_template) as database:
        yield database


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, database: Database) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("reference")
    write_reference(folder, database.url("owner"))
    return {page.stem: page.read_text() for page in folder.iterdir()}


def sections(page: str) -> dict[str, str]:
    parts = re.split(r"^## (.*)$", page, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def commands_of(group: click.Group, path: str) -> dict[str, click.Command]:
    found: dict[str, click.Command] = {}
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        if isinstance(command, click.Group):
            found |= commands_of(command, f"{path} {name}")
        elif command:
            found[f"{path} {name}"] = command
    return found


def analysts_columns(database: Database) -> list[tuple[str, str]]:
    query = text(
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'analytics'"
    )
    with create_engine(database.url("owner"), poolclass=NullPool).connect() as connection:
        return [(view, column) for view, column in connection.execute(query)]


def lacking(names: Mapping[str, list[str]], page: str) -> list[str]:
    known = sections(page)
    return [
        f"{section}: {name}"
        for section, wanted in names.items()
        for name in wanted
        if f"`{name}`" not in known.get(section, "")
    ]


def test_each_flow_and_parameter_command_and_option_view_table_and_column_is_there(
    pages: dict[str, str], database: Database
) -> None:
    flows = {each.flow: list(inspect.signature(each.load().fn).parameters) for each in DEPLOYMENTS}
    commands = {
        path: [name for option in command.params if isinstance(option, click.Option) for name in option.opts]
        for path, command in commands_of(wordwave, "wordwave").items()
    }
    tables = {table.name: [column.name for column in table.columns] for table in Base.metadata.sorted_tables}
    views: dict[str, list[str]] = {}
    for view, column in analysts_columns(database):
        views.setdefault(f"analytics.{view}", []).append(column)
    assert min(map(len, (flows, commands, tables, views))) > 5
    assert lacking(flows, pages["flows"]) == []
    assert lacking(commands, pages["commands"]) == []
    assert lacking(tables | views, pages["schema"]) == []
    assert set(sections(pages["flows"])) == set(flows)
    assert set(sections(pages["commands"])) == set(commands)


def test_each_setting_is_there(pages: dict[str, str]) -> None:
    for name in ServerSettings.model_fields:
        assert f"| `WORDWAVE_{name.upper()}` |" in pages["settings"]


def test_each_reason_is_there_with_what_operations_says_of_it(pages: dict[str, str]) -> None:
    for reason in get_args(ReasonCode):
        assert re.search(rf"^\| `{reason}` \| \w", pages["reasons"], re.MULTILINE), reason


def test_comments_of_views_and_their_columns_are_shown(pages: dict[str, str]) -> None:
    labels = sections(pages["schema"])["analytics.labels"]
    assert (
        "| `margin` | `double precision` | Probability of the first label minus that of the second |"
        in labels
    )


def test_the_page_for_analysts_names_each_view(database: Database) -> None:
    page = (ROOT / "docs" / "analysts.md").read_text()
    assert [view for view, _ in analysts_columns(database) if f"| `analytics.{view}` |" not in page] == []


def test_sources_of_dbt_have_each_view_and_column_and_tests_of_columns_that_are_there(
    pages: dict[str, str], database: Database
) -> None:
    [source] = yaml.safe_load(pages["sources"])["sources"]
    described = [(view["name"], column["name"]) for view in source["tables"] for column in view["columns"]]
    assert sorted(described) == sorted(analysts_columns(database))
    keys = {*FRESHNESS.items(), *KEYS.items(), *REFERENCES, *REFERENCES.values()}
    keys |= {(view, "status") for view in STATUSES}
    assert keys <= set(described)
    runs = next(view for view in source["tables"] if view["name"] == "runs")
    assert runs["loaded_at_field"] == "started_at"
    assert runs["columns"][0]["data_tests"] == ["unique", "not_null"]


def test_a_table_cell_keeps_its_bars_and_signs(pages: dict[str, str]) -> None:
    for name, page in pages.items():
        for line in page.splitlines():
            bars = len(re.findall(r"(?<!\\)\|", line))
            assert not line.startswith("|") or bars in range(3, 6), f"{name}: {line}"
