"""What only the tests of the database layer need."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, event
from sqlalchemy.orm import Session

from db.engine import make_engine
from db.libraries import LibraryVersion
from tests.db.rows import make_library, make_tokenized_clips
from tests.fixtures_postgres import Database


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


@pytest.fixture
def owner_session(database: Database) -> Iterator[Session]:
    """The owner's session, who may do what no flow does."""
    engine = make_engine(database.url("owner"))
    with Session(engine, expire_on_commit=False) as session:
        yield session
    engine.dispose()
