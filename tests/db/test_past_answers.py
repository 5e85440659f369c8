"""What was the label of a clip then is what the labels said then."""

from random import Random

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.db.test_current_answers import World

SHOWN = "uri, task, library, label, margin, status, is_promoted, is_chosen, content_sha256"
NOW = text(f"SELECT {SHOWN} FROM analytics.labels WHERE missing_since IS NULL ORDER BY 1, 2, 3")
THEN = text(f"SELECT {SHOWN} FROM analytics.labels_as_of(:moment) ORDER BY 1, 2, 3")


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_any_moment_are_those_that_were_shown_then(
    owner_session: Session,
    seed: int,
) -> None:
    world, shown = World(owner_session, Random(seed)), {}
    for _ in range(40):
        owner_session.commit()
        world.happen()
        owner_session.commit()
        shown[owner_session.scalar(text("SELECT clock_timestamp()"))] = owner_session.execute(NOW).all()
    assert any(shown.values())
    for moment, labels in shown.items():
        assert owner_session.execute(THEN, {"moment": moment}).all() == labels


def test_a_label_given_and_replaced_in_one_transaction_was_never_there(
    owner_session: Session,
) -> None:
    world = World(owner_session, Random(0))
    for _ in range(20):
        world.happen()
    spans = "SELECT count(*) FROM analytics.label_spans WHERE until IS NOT NULL"
    assert owner_session.scalar(text(spans)) == 0
