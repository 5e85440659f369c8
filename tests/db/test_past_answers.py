"""What was the label of a clip then is what the labels said then."""

from random import Random

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session

from tests.db.test_counted_days import World as WorldOfClips
from tests.db.test_current_answers import World

SHOWN = "uri, task, library, label, margin, status, is_promoted, is_chosen, content_sha256"
NOW = text(f"SELECT {SHOWN} FROM analytics.labels WHERE missing_since IS NULL ORDER BY 1, 2, 3")
THEN = text(f"SELECT {SHOWN} FROM analytics.labels_as_of(:moment) ORDER BY 1, 2, 3")
BOUNDS = text(
    "SELECT since FROM analytics.label_spans UNION SELECT until FROM analytics.label_spans "
    "UNION VALUES ('-infinity'::timestamptz), ('infinity'), (NULL)"
)
DIFFERENCES = text(
    """
    WITH shown AS (SELECT s::text AS one FROM analytics.labels_as_of(CAST(:bound AS timestamptz)) s),
    spans AS (SELECT s::text AS one FROM analytics.label_spans s
      WHERE s.since <= CAST(:bound AS timestamptz)
        AND (s.until IS NULL OR s.until > CAST(:bound AS timestamptz)))
    (TABLE shown EXCEPT ALL TABLE spans) UNION ALL (TABLE spans EXCEPT ALL TABLE shown)
    """
)


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


@pytest.mark.parametrize("seed", range(2))
def test_labels_of_the_moment_of_a_change_are_the_spans_that_have_begun_and_not_ended(
    owner_session: Session,
    seed: int,
) -> None:
    world = WorldOfClips(owner_session, seed)
    for _ in range(150):
        owner_session.commit()
        world.happen()
    bounds = owner_session.execute(text(f"SELECT bound::text FROM ({BOUNDS}) AS bounds (bound)")).all()
    assert len(bounds) > 10
    for (bound,) in bounds:
        assert owner_session.execute(DIFFERENCES, {"bound": bound}).all() == [], bound


def test_a_label_given_and_replaced_in_one_transaction_was_never_there(
    owner_session: Session,
) -> None:
    world = World(owner_session, Random(0))
    for _ in range(20):
        world.happen()
    spans = "SELECT count(*) FROM analytics.label_spans WHERE until IS NOT NULL"
    assert owner_session.scalar(text(spans)) == 0
