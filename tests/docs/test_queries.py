"""Saved queries are short, say what they answer, and can be asked."""

from collections.abc import Sequence

import pytest
from sqlalchemy import NullPool, create_engine

from flows.cli.queries.query import answered
from flows.cli.queries.saved import FOLDER, SavedQuery, read_saved, saved_names
from tests.docs.blocks import ROOT
from tests.fixtures_postgres import Database

MAX_LINES = 5


@pytest.mark.parametrize("name", saved_names())
def test_a_saved_query_is_a_question_and_five_lines_of_sql_at_most(name: str) -> None:
    query = read_saved(name)
    assert query.question.endswith("?")
    assert len(query.sql.splitlines()) <= MAX_LINES
    assert all(f":{value}" in query.sql for value in query.values)
    lines = (FOLDER / f"{name}.sql").read_text().splitlines()
    assert max(map(len, lines)) <= 110


def test_every_saved_query_can_be_asked_by_an_analyst(database: Database) -> None:
    assert len(saved_names()) > 10
    for name in saved_names():
        query = read_saved(name)
        if "uri" in query.values and name != "made-by":  # it needs that clip
            with pytest.raises(ValueError, match=query.values["uri"]):
                _ask(database, query)
        else:
            assert _ask(database, query)


def _ask(database: Database, query: SavedQuery) -> Sequence[str]:
    with answered(database.url("analyst"), query.sql, query.values) as answer:
        list(answer.rows)
        return answer.columns


def test_the_page_for_analysts_names_every_saved_query() -> None:
    page = (ROOT / "docs" / "analysts.md").read_text()
    assert [name for name in saved_names() if f"| `{name}` | {read_saved(name).question} |" not in page] == []


def test_a_value_that_a_query_does_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"labels has no value uri; its values are: library"):
        read_saved("labels").with_values({"uri": "s3://calls/a.wav"})
    assert read_saved("labels").with_values({"library": "birds"}) == {"library": "birds"}


def test_an_analyst_can_plan_every_saved_query_in_a_client_of_their_own(database: Database) -> None:
    """Clients such as DBeaver ask for the value of each `:name`."""
    with create_engine(database.url("analyst"), poolclass=NullPool).connect() as connection:
        for name in saved_names():
            query = read_saved(name)
            text = query.sql
            for value, given in query.values.items():
                text = text.replace(f":{value}", f"'{given}'")
            assert connection.exec_driver_sql(f"EXPLAIN {text.replace('%', '%%')}").all(), name
