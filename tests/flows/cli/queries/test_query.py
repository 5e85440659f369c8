"""Queries of an analyst: the views, and nothing else, as a table or as a file."""

import csv
import io
import json
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from flows.cli.queries.command import sql
from flows.cli.queries.formats import MAX_TABLE_ROWS, QueryFormat, write_answer
from flows.cli.queries.query import answered
from tests.fixtures_postgres import Database

MANY = "SELECT n FROM generate_series(1, 12345) AS n"
EVERY_KIND = r"""
    SELECT 1::smallint AS two, 2::integer AS four, 3::bigint AS eight, sum(4::bigint) AS number,
      0.5::real AS half, 'NaN'::double precision AS no_number, true AS yes, 'a,"b"' AS words,
      NULL::text AS nothing,
      '\x00ff'::bytea AS digest, '{"a": [1, null]}'::jsonb AS object, '{1,2}'::smallint[] AS codes,
      '2026-11-22'::date AS day, '2026-11-22 01:02:03+01'::timestamptz AS moment,
      '00000000-0000-0000-0000-000000000001'::uuid AS run, interval '90 s' AS span
"""


def written(database: Database, query: str, layout: QueryFormat, **values: str) -> bytes:
    file = io.BytesIO()
    with answered(database.url("analyst"), query, values) as answer:
        write_answer(answer, layout, file)
    return file.getvalue()


def lines(database: Database, query: str, **values: str) -> list[str]:
    return written(database, query, "table", **values).decode().splitlines()


def test_an_answer_is_aligned_under_its_column_names(database: Database) -> None:
    query = r"SELECT 1 AS n, '\x0aff'::bytea AS digest, NULL AS x"
    assert lines(database, query) == ["n  digest  x", "1  0aff"]


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
    assert lines(database, query)[1:] == answer


def test_a_value_is_bound_where_its_name_follows_a_colon_and_nowhere_else(database: Database) -> None:
    query = "SELECT :day AS a, ':days' AS b, '1'::int AS c, '12:day_' AS d, :day::int AS e"
    assert lines(database, query, day="1")[1:] == ["1  :days  1  12:day_  1"]
    hostile = "'; DROP VIEW labels; --"
    assert lines(database, "SELECT :day AS a", day=hostile)[1:] == [hostile]


@pytest.mark.parametrize(
    "query", ["SELECT * FROM public.clips", "DROP VIEW labels", "SELEC 1", "SET search_path = public"]
)
def test_what_postgres_refuses_is_said_in_its_words(database: Database, query: str) -> None:
    with pytest.raises(ValueError, match=r"permission denied|read-only transaction|syntax error"):
        lines(database, query)


def test_a_table_ends_after_a_thousand_rows_and_says_so(database: Database) -> None:
    shown = lines(database, MANY)
    assert len(shown) == MAX_TABLE_ROWS + 2
    assert "--format csv" in shown[-1]


def test_files_have_every_row(database: Database) -> None:
    numbers = [str(number) for number in range(1, 12_346)]
    assert written(database, MANY, "csv").decode().splitlines() == ["n", *numbers]
    assert [str(json.loads(line)["n"]) for line in written(database, MANY, "json").splitlines()] == numbers
    table = pq.read_table(io.BytesIO(written(database, MANY, "parquet")))
    assert list(map(str, table["n"].to_pylist())) == numbers


def test_a_csv_file_reads_back_as_what_was_asked(database: Database) -> None:
    [row] = csv.DictReader(io.StringIO(written(database, EVERY_KIND, "csv").decode()))
    assert row == {
        "two": "1", "four": "2", "eight": "3", "number": "4", "half": "0.5", "no_number": "nan",
        "yes": "true",
        "words": 'a,"b"', "nothing": "", "digest": "00ff", "object": '{"a": [1, null]}', "codes": "[1, 2]",
        "day": "2026-11-22", "moment": "2026-11-22T00:02:03+00:00",
        "run": "00000000-0000-0000-0000-000000000001", "span": "0:01:30",
    }  # fmt: skip


def test_json_has_the_types_that_it_knows(database: Database) -> None:
    assert json.loads(written(database, EVERY_KIND, "json")) == {
        "two": 1, "four": 2, "eight": 3, "number": 4, "half": 0.5, "no_number": None, "yes": True,
        "words": 'a,"b"', "nothing": None, "digest": "00ff", "object": {"a": [1, None]}, "codes": [1, 2],
        "day": "2026-11-22", "moment": "2026-11-22T00:02:03+00:00",
        "run": "00000000-0000-0000-0000-000000000001", "span": "0:01:30",
    }  # fmt: skip


def test_a_parquet_file_has_the_types_of_the_columns_even_without_rows(database: Database) -> None:
    table = pq.read_table(io.BytesIO(written(database, EVERY_KIND, "parquet")))
    [row] = table.to_pylist()
    assert row.pop("no_number") != row.get("no_number")
    assert row == {
        "two": 1, "four": 2, "eight": 3, "number": 4.0, "half": 0.5, "yes": True, "words": 'a,"b"',
        "nothing": None, "digest": b"\x00\xff", "object": '{"a": [1, null]}', "codes": [1, 2],
        "day": date(2026, 11, 22), "moment": datetime(2026, 11, 22, 0, 2, 3, tzinfo=UTC),
        "run": "00000000-0000-0000-0000-000000000001", "span": "0:01:30",
    }  # fmt: skip
    empty = pq.read_table(io.BytesIO(written(database, f"{EVERY_KIND} HAVING false", "parquet")))
    assert (empty.num_rows, empty.schema) == (0, table.schema)
    assert table.schema.field("codes").type == pa.list_(pa.int16())


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "give a query in quotes"),
        (["SELECT 1", "--saved", "labels"], "give a query in quotes"),
        (["SELECT 1", "--set", "library=sounds"], "--set gives a value to a saved query"),
        (["--saved", "labels", "--set", "library"], "write it like library=sounds"),
        (["--saved", "nothing"], "'least-sure'"),
    ],
)
def test_a_command_that_says_too_little_or_too_much_is_refused(arguments: list[str], said: str) -> None:
    refused = CliRunner().invoke(sql, arguments)
    assert (refused.exit_code, said in refused.output) == (2, True), refused.output
