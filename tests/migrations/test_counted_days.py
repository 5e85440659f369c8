"""An old database has the counts of its days from the upgrade on, before any night has counted them."""

from random import Random

from sqlalchemy import NullPool, create_engine, text
from sqlalchemy.orm import Session

from db.counted_days import count_day_differences, count_marked_days
from migrations.upgrade import downgrade, upgrade
from tests.fixtures_postgres import Database
from tests.migrations.test_current_answers import _write_history

BEFORE = "20261202_answer_times"
LABELS = text("SELECT count(*) FROM analytics.labels WHERE missing_since IS NULL")
COUNTED = text("SELECT sum(clips) FROM analytics.label_counts")


def test_an_old_database_counts_its_days_when_it_is_asked_and_then_once(database: Database) -> None:
    engine = create_engine(database.url("owner"), poolclass=NullPool)
    downgrade(database.url("owner"), BEFORE)
    with Session(engine) as session:
        _write_history(session.connection(), Random(3))
        session.commit()
    upgrade(database.url("owner"))
    with Session(engine) as session:
        labels = session.scalars(LABELS).one()
        assert labels > 0
        assert session.scalars(COUNTED).one() == labels
    assert count_marked_days(engine)
    with Session(engine) as session:
        assert session.scalars(COUNTED).one() == labels
        assert count_day_differences(session) == 0
