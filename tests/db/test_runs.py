"""A run that died is taken up again; a finished one is history."""

from collections.abc import Callable
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from db.engine import make_engine, session_scope
from db.models import Run
from db.runs import (
    FinalStatus,
    RunClaim,
    RunLost,
    RunNotFound,
    find_runs,
    finish_run,
    get_run,
    hold_run,
    save_counts,
    shard_counts,
    start_run,
)
from tests.db.rows import claim, make_run, start


def test_a_run_that_never_finished_is_taken_up_with_one_attempt_more(session: Session) -> None:
    first = make_run(session, library="animals@1")
    again = make_run(session, library="animals@1")
    assert again == first
    assert session.get_one(Run, first).attempts == 2


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_finished_run_is_not_taken_up(session: Session, status: str) -> None:
    first = claim(session)
    finish_run(session, first, {"labeled": 3}, status)  # type: ignore[arg-type]
    session.expire_all()
    assert session.get_one(Run, first.id).counts == {"labeled": 3}
    assert make_run(session) != first.id


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
        ).id
    )
    assert len(set(runs)) == 4


def test_finishing_an_unknown_run_says_so(session: Session) -> None:
    with pytest.raises(RunNotFound, match="there is no run"):
        finish_run(session, RunClaim(uuid4(), 1), {}, "completed")


def test_a_run_is_found_by_its_id_or_the_id_is_named(session: Session) -> None:
    run_id, unknown = make_run(session, "label", library="animals@1"), uuid4()
    found = get_run(session, run_id)
    assert (found.id, found.kind, found.status) == (run_id, "label", "running")
    assert found.parameters == {"library": "animals@1"}
    with pytest.raises(RunNotFound, match=str(unknown)):
        get_run(session, unknown)


def test_what_was_fixed_when_a_run_began_stays_so_for_those_who_ask_as_it_was_asked(session: Session) -> None:
    asked = {"library": "animals"}
    first = start(session, asked=asked, library="animals@1")
    again = start(session, asked=asked, library="animals@2")
    assert (again.id, again.parameters["library"]) == (first.id, "animals@1")
    assert start(session, library="animals@1").id != first.id


def test_counts_are_kept_for_the_next_attempt(session: Session) -> None:
    first = claim(session)
    save_counts(session, first, {"label.labeled": 3})
    assert start(session).counts == {"label.labeled": 3}


@pytest.mark.parametrize("taken", ["taken up", "finished"])
def test_a_claim_ends_when_another_process_takes_the_run_up_or_finishes_it(
    session: Session, taken: str
) -> None:
    mine = claim(session)
    hold_run(session, mine)
    theirs = claim(session)
    if taken == "finished":
        finish_run(session, theirs, {}, "completed")
    writes: tuple[Callable[[], None], ...] = (
        lambda: hold_run(session, mine),
        lambda: save_counts(session, mine, {}),
        lambda: finish_run(session, mine, {}, "failed"),
    )
    for write in writes:
        with pytest.raises(
            RunLost, match=f"run {mine.id} is .* at attempt 2, this process is attempt 1: another"
        ):
            write()


@pytest.mark.parametrize("status", ["cancelled", "failed"])
def test_what_is_under_way_when_its_own_process_closes_the_run_blames_no_other(
    session: Session, status: FinalStatus
) -> None:
    mine = claim(session)
    finish_run(session, mine, {}, status)
    with pytest.raises(RunLost) as lost:
        hold_run(session, mine)
    assert f"it was closed as {status} while this was under way" in str(lost.value)
    assert "another process" not in str(lost.value)


def test_a_shard_writes_unless_its_night_failed_whoever_leads_it(session: Session) -> None:
    night, own = claim(session), claim(session, "shard")
    shard = RunClaim(own.id, own.attempt, night.id)
    assert shard.writes_as == night.id
    hold_run(session, shard)
    hold_run(session, shard := RunClaim(own.id, own.attempt, claim(session).id))
    finish_run(session, RunClaim(night.id, 2), {}, "failed")
    with pytest.raises(RunLost, match=f"night {night.id}, which is failed: its night was given up"):
        hold_run(session, shard)


def test_nobody_takes_a_run_up_before_the_transaction_that_writes_as_it_ends(database_url: str) -> None:
    engine = make_engine(database_url)
    with session_scope(engine) as session:
        mine = claim(session, "held")
    with session_scope(engine) as writer:
        hold_run(writer, mine)
        with session_scope(engine) as other:
            other.execute(text("SET LOCAL lock_timeout = '100ms'"))
            with pytest.raises(OperationalError, match="lock timeout"):
                claim(other, "held")
            other.rollback()
    engine.dispose()


def test_the_shards_of_a_night_count_together_in_all_their_attempts(session: Session) -> None:
    night, other = uuid4(), uuid4()
    shards = [claim(session, f"shard {number}", night=str(night)) for number in range(3)]
    finish_run(session, shards[0], {"labeled": 2, "uncertain": 1}, "completed")
    finish_run(session, shards[1], {"labeled": 3}, "failed")
    save_counts(session, claim(session, "shard 1", night=str(night)), {"labeled": 4})
    finish_run(session, claim(session, "shard 0", night=str(other)), {"labeled": 7}, "completed")
    assert shard_counts(session, night) == {"labeled": 9, "uncertain": 1}


def of_flow_run(session: Session, flow_run: str, code_version: str = "0.1.0") -> RunClaim:
    run = start_run(
        session,
        "nightly-labeling",
        "s3://bucket/day",
        parameters={},
        day=None,
        flow_run_id=flow_run,
        code_version=code_version,
    )
    return RunClaim(run.id, run.attempts)


@pytest.mark.parametrize("status", ["completed", "failed", "cancelled"])
def test_a_flow_run_that_is_retried_is_one_run(session: Session, status: FinalStatus) -> None:
    mine, other = str(uuid4()), str(uuid4())
    first = of_flow_run(session, mine)
    finish_run(session, first, {"label.labeled": 3}, status)
    again = of_flow_run(session, mine)
    assert again == RunClaim(first.id, 2)
    with pytest.raises(RunLost):
        save_counts(session, first, {})
    finish_run(session, again, {"label.labeled": 4}, "completed")
    assert of_flow_run(session, other).id != first.id
    assert of_flow_run(session, mine, code_version="0.2.0").id != first.id


def test_a_run_is_found_by_each_flow_run_that_worked_on_it(session: Session) -> None:
    killed, next_one = uuid4(), uuid4()
    run = of_flow_run(session, str(killed))
    assert of_flow_run(session, str(next_one)).id == run.id
    for known in (run.id, killed, next_one):
        assert [found.id for found in find_runs(session, [known])] == [run.id]
    assert not find_runs(session, [uuid4()])
