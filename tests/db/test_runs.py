"""A run that died is taken up again; a finished one is history."""

from uuid import uuid4

import pytest
from sqlalchemy.orm import Session

from db.models import Run
from db.runs import RunNotFound, finish_run, get_run, shard_counts, start_run
from tests.db.rows import make_run


def test_a_run_that_never_finished_is_taken_up_with_one_attempt_more(session: Session) -> None:
    first = make_run(session, library="animals@1")
    again = make_run(session, library="animals@1")
    assert again == first
    assert session.get_one(Run, first).attempts == 2


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_finished_run_is_not_taken_up(session: Session, status: str) -> None:
    first = make_run(session)
    finish_run(session, first, {"labeled": 3}, status)  # type: ignore[arg-type]
    session.expire_all()
    assert session.get_one(Run, first).counts == {"labeled": 3}
    assert make_run(session) != first


def test_another_kind_or_request_or_code_is_another_run(session: Session) -> None:
    runs = [make_run(session, "label"), make_run(session, "tokenize"), make_run(session, "label", seed=1)]
    runs.append(
        start_run(
            session,
            "label",
            "s3://bucket/day",
            parameters={},
            day=None,
            flow_run_id=None,
            code_version="0.2.0",
        )
    )
    assert len(set(runs)) == 4


def test_finishing_an_unknown_run_says_so(session: Session) -> None:
    with pytest.raises(LookupError, match="never started"):
        finish_run(session, uuid4(), {}, "completed")


def test_a_run_is_found_by_its_id_or_the_id_is_named(session: Session) -> None:
    run_id, unknown = make_run(session, "label", library="animals@1"), uuid4()
    found = get_run(session, run_id)
    assert (found.id, found.kind, found.status) == (run_id, "label", "running")
    assert found.parameters == {"library": "animals@1"}
    with pytest.raises(RunNotFound, match=str(unknown)):
        get_run(session, unknown)


def test_the_shards_of_a_night_count_together_once_they_are_finished(session: Session) -> None:
    night, other = uuid4(), uuid4()
    shards = [make_run(session, f"shard {number}", night=str(night)) for number in range(3)]
    finish_run(session, shards[0], {"labeled": 2, "uncertain": 1}, "completed")
    finish_run(session, shards[1], {"labeled": 3}, "completed")
    finish_run(session, make_run(session, "shard 0", night=str(other)), {"labeled": 7}, "completed")
    assert shard_counts(session, night) == {"labeled": 5, "uncertain": 1}
