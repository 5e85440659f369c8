"""Thousands of rows cost a few statements, and a taken key costs nothing."""

from sqlalchemy.orm import Session

from db.bulk import insert_new
from db.models import Llm


def _rows(count: int) -> list[dict[str, str]]:
    return [{"fingerprint": f"{number:05}", "name": "tiny"} for number in range(count)]


def test_thousands_of_rows_go_in_few_statements(session: Session, statements: list[str]) -> None:
    assert insert_new(session, Llm, _rows(2500)) == 2500
    assert sum(statement.startswith("INSERT") for statement in statements) == 3


def test_rows_whose_key_is_taken_are_left_out_and_not_counted(session: Session) -> None:
    insert_new(session, Llm, _rows(2))
    assert insert_new(session, Llm, _rows(5) + _rows(3)) == 3
    assert insert_new(session, Llm, []) == 0
