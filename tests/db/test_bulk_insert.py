"""Thousands of rows cost a few statements, and a taken key costs nothing."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError
from sqlalchemy.orm import Session

from db.base import Base
from db.bulk_insert import insert_new
from db.engine import make_engine, session_scope
from db.models import Clip, Codec, Llm, PooledLatent
from tests.eventually import eventually
from tests.fixtures_postgres import Database, administer

LONG_AGO = datetime(1999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
numbers = st.floats(-1e6, 1e6)
"""Postgres keeps larger ones of a document as whole numbers."""
documents = st.recursive(
    st.none() | st.booleans() | numbers | texts, lambda inner: st.lists(inner), max_leaves=5
)


def _rows(count: int) -> list[dict[str, str]]:
    return [{"fingerprint": f"{number:05}", "name": "tiny"} for number in range(count)]


def _stored(session: Session, table: type[Base], columns: Sequence[str]) -> list[Mapping[str, Any]]:
    """Return the rows in the order of insertion."""
    asked = select(*(getattr(table, column) for column in columns))
    found = session.execute(asked.order_by(*table.__table__.primary_key))
    return [dict(row) for row in found.mappings()]


def test_thousands_of_new_rows_need_no_insert(session: Session, statements: list[str]) -> None:
    assert insert_new(session, Llm, _rows(2500)) == 2500
    assert {statement.split()[0] for statement in statements} == {"SAVEPOINT", "RELEASE"}
    assert len(_stored(session, Llm, ["fingerprint"])) == 2500


def test_thousands_of_rows_go_in_few_statements_where_a_key_is_taken(
    session: Session, statements: list[str]
) -> None:
    insert_new(session, Llm, _rows(1))
    assert insert_new(session, Llm, _rows(2500)) == 2499
    assert sum(statement.startswith("INSERT") for statement in statements) == 3


def test_rows_whose_key_is_taken_are_left_out_and_not_counted(session: Session) -> None:
    insert_new(session, Llm, _rows(2))
    assert insert_new(session, Llm, _rows(5) + _rows(3)) == 3
    assert insert_new(session, Llm, []) == 0


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(names=st.lists(texts, min_size=1, unique=True), config=st.dictionaries(texts, documents))
@example(names=["", "\\N", "\\.", "a\tb\\\r\n"], config={"\\": "\t\n\\n", "": None})
def test_what_goes_in_comes_out(session: Session, names: list[str], config: dict[str, Any]) -> None:
    rows = [_codec_row(name, config) for name in names]
    savepoint = session.begin_nested()
    try:
        assert insert_new(session, Codec, rows) == len(rows)
        assert _stored(session, Codec, list(rows[0])) == rows
    finally:
        savepoint.rollback()


def _codec_row(name: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    numbers = {"sample_rate": 16_000, "codebook_sizes": [3, 2**31 - 1, 1], "code_samples": [4, 2, 1]}
    return {"fingerprint": name, "name": name, "config": dict(config or {}), **numbers}


def test_times_and_what_is_not_known_come_out_as_they_went_in(session: Session) -> None:
    rows = [
        {"uri": "a", "version_token": "v", "size": 2**40, "last_modified": LONG_AGO, "missing_since": None},
        {
            "uri": "b",
            "version_token": "v",
            "size": 0,
            "last_modified": LONG_AGO,
            "missing_since": LONG_AGO + timedelta(days=1),
        },
    ]
    insert_new(session, Clip, rows)
    assert _stored(session, Clip, list(rows[0])) == rows


def test_what_is_wrong_beside_a_taken_key_is_raised(session: Session, codec_id: int) -> None:
    of_no_content = {"content_sha256": bytes(32), "codec_id": codec_id, "mean": b"12", "deviation": b"34"}
    with pytest.raises(IntegrityError, match="fk_pooled_latents"), session.begin_nested():
        insert_new(
            session, PooledLatent, [of_no_content | {"run_id": "00000000-0000-0000-0000-000000000000"}]
        )
    with pytest.raises(DataError, match="integer out of range"), session.begin_nested():
        insert_new(session, Codec, [_codec_row("large") | {"sample_rate": 2**31}])
    assert insert_new(session, Llm, _rows(1)) == 1


WAITING = text(
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
)


def _is_waiting(engine: Engine) -> bool:
    """Return whether a writer waits for another one's row."""
    with session_scope(engine) as session:
        return bool(session.scalar(WAITING) == 1)


def test_a_writer_that_waited_for_the_same_rows_leaves_them_as_they_are(database_url: str) -> None:
    engine = make_engine(database_url)
    with ThreadPoolExecutor(1) as thread:
        with session_scope(engine) as first:
            insert_new(first, Llm, _rows(2))
            late = thread.submit(_insert_apart, engine, _rows(3))
            assert eventually(lambda: _is_waiting(engine))
        assert late.result(timeout=20) == 1
    engine.dispose()


def _insert_apart(engine: Engine, rows: Sequence[Mapping[str, str]]) -> int:
    with session_scope(engine) as session:
        return insert_new(session, Llm, rows)


def test_a_connection_that_ends_in_the_midst_is_an_operational_error(database: Database) -> None:
    engine = make_engine(database.url("writer"))
    with session_scope(engine) as first, ThreadPoolExecutor(1) as thread:
        insert_new(first, Llm, _rows(1))
        late = thread.submit(_insert_apart, engine, _rows(1))
        assert eventually(lambda: _is_waiting(engine))
        administer(
            database.server,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            f" WHERE datname = '{database.name}' AND wait_event_type = 'Lock'",
        )
        with pytest.raises(OperationalError):
            late.result(timeout=20)
    assert _insert_apart(engine, _rows(1)) == 0
    engine.dispose()
