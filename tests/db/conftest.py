"""What only the tests of the database layer need."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event


@pytest.fixture
def statements(shared_engine: Engine) -> Iterator[list[str]]:
    """Every statement that `session` sends to the server."""
    sent: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(shared_engine, "before_cursor_execute", record)
    yield sent
    event.remove(shared_engine, "before_cursor_execute", record)
