"""What only the tests of the database layer need."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from db.libraries import LibraryVersion
from tests.db.rows import make_library, make_tokenized_clips


@pytest.fixture
def statements(shared_engine: Engine) -> Iterator[list[str]]:
    """Yield every statement that `session` sends to the server."""
    sent: list[str] = []

    def record(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        sent.append(statement)

    event.listen(shared_engine, "before_cursor_execute", record)
    yield sent
    event.remove(shared_engine, "before_cursor_execute", record)


@pytest.fixture
def codec_id(session: Session) -> int:
    """Return a codec, with tokens of a.wav and b.wav."""
    return make_tokenized_clips(session, "a.wav", "b.wav")


@pytest.fixture
def library(session: Session, codec_id: int) -> LibraryVersion:
    """Return a library of these clips."""
    return make_library(session, codec_id)
