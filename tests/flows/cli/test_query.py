"""Queries of an analyst: the views, and nothing else."""

import pytest

from flows.cli.query import answer_lines
from tests.fixtures_postgres import Database


def test_an_answer_is_aligned_under_its_column_names(database: Database) -> None:
    query = r"SELECT 1 AS n, '\x0aff'::bytea AS digest, NULL AS x"
    lines = list(answer_lines(database.url("analyst"), query))
    assert lines == ["n  digest  x", "1  0aff"]


@pytest.mark.parametrize(
    ("query", "answer"),
    [
        ("SELECT uri FROM clips WHERE uri LIKE '%dog%' OR uri = ':name'", []),
        ("SELECT '10%' AS share, '12:30'::text AS time, 1::bigint::int AS n", ["10%    12:30  1"]),
    ],
)
def test_percent_signs_and_colons_are_the_querys_own(
    database: Database, query: str, answer: list[str]
) -> None:
    assert list(answer_lines(database.url("analyst"), query))[1:] == answer


@pytest.mark.parametrize(
    "query", ["SELECT * FROM public.clips", "DROP VIEW labels", "SELEC 1", "SET search_path = public"]
)
def test_what_postgres_refuses_is_said_in_its_words(database: Database, query: str) -> None:
    with pytest.raises(ValueError, match=r"permission denied|read-only transaction|syntax error"):
        list(answer_lines(database.url("analyst"), query))
