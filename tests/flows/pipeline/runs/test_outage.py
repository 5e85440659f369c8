"""A step is tried again after what can pass, and only then; what is away is waited for up to a bound."""

import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import EndpointConnectionError
from sqlalchemy.exc import OperationalError

from core.errors import AudioRejected
from flows.pipeline.runs.halving import DeviceFailed
from flows.pipeline.runs.outage import MAX_WAIT_SECONDS, PAUSES_SECONDS, Away, Breaker, can_pass
from flows.pipeline.storage import DamagedTransfer

CUT = OperationalError("SELECT 1", None, Exception("server closed the connection unexpectedly"))
NOBODY = EndpointConnectionError(endpoint_url="http://x")
BOUND = 900.0


class Clock:
    """Time that passes only where somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: clock.now)
    return clock


class Step:
    """A step that raises these errors, one a call, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors, self.calls = list(errors), 0

    def __call__(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"


@pytest.fixture
def breaker(clock: Clock) -> Breaker:
    return Breaker(BOUND, clock.wait)


@pytest.mark.parametrize(
    "error", [ChildProcessError("killed"), DamagedTransfer("cut"), TimeoutError("drips")]
)
def test_a_step_with_trouble_of_its_own_has_few_tries(
    error: Exception, breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert breaker.run(Step(error, error, error)) == "done"
    assert all(pause <= wait <= 1.5 * pause for pause, wait in zip(PAUSES_SECONDS, clock.waits, strict=True))
    with pytest.raises(type(error)):
        breaker.run(Step(*[error] * 4))
    assert caplog.records == []


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bug"),
        AudioRejected("empty", "no samples"),
        DeviceFailed("lost"),
        OSError(28, "No space left on device"),
        OperationalError("", None, Exception('FATAL:  password authentication failed for user "x"')),
    ],
)
def test_what_cannot_pass_is_raised_at_once(error: Exception, breaker: Breaker, clock: Clock) -> None:
    with pytest.raises(type(error)):
        breaker.run(Step(error))
    assert clock.waits == []
    assert not can_pass(error)


@pytest.mark.parametrize(("error", "what"), [(CUT, "the database"), (NOBODY, "the store")])
def test_an_outage_shorter_than_the_bound_is_waited_for_and_costs_two_lines(
    error: Exception, what: str, breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    assert breaker.run(Step(*[error] * 12)) == "done"
    assert clock.waits[:7] == [1, 2, 4, 8, 16, 32, MAX_WAIT_SECONDS]
    assert set(clock.waits[6:]) == {MAX_WAIT_SECONDS}
    first, last = caplog.messages
    assert first.startswith(f"{what} does not answer ({type(error).__name__}: ")
    assert first.endswith("waiting for it, up to 15 minutes")
    assert last == f"{what} answers again after 7 minutes"


def test_past_the_bound_nothing_is_tried_any_more(
    breaker: Breaker, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    hopeless, later = Step(*[NOBODY] * 1000), Step()
    with pytest.raises(Away, match="the store is away"):
        breaker.run(hopeless)
    assert (clock.now, hopeless.calls) == (BOUND, len(clock.waits) + 1)
    with pytest.raises(Away):
        breaker.run(later)
    assert later.calls == 0
    assert len(caplog.records) == 1


def test_the_error_says_what_is_away_what_is_left_and_how_long_it_was_waited_for() -> None:
    with pytest.raises(Away) as away:
        Breaker(0).run(Step(NOBODY))
    said = str(away.value.leaving("1,100 clips left, the retry finds them"))
    assert said.startswith("the store is away, 1,100 clips left, the retry finds them (")
    assert "WORDWAVE_OUTAGE_TIMEOUT" in said
    assert "http://x" in said


def test_several_batches_wait_for_one_outage(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    both, up = threading.Barrier(2), threading.Event()

    def wait(seconds: float) -> None:
        both.wait(10)
        up.set()

    def step() -> str:
        if not up.is_set():
            raise NOBODY
        return "done"

    breaker = Breaker(BOUND, wait)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(breaker.run, [step, step])) == ["done", "done"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2


def test_a_step_that_fails_while_others_succeed_is_given_up(
    breaker: Breaker, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wait(seconds: float) -> None:
        clock.wait(seconds)
        assert breaker.run(Step()) == "done"

    monkeypatch.setattr(breaker, "_wait", wait)
    stubborn = Step(*[NOBODY] * 1000)
    with pytest.raises(EndpointConnectionError):
        breaker.run(stubborn)
    assert stubborn.calls == 1 + len(PAUSES_SECONDS)


def test_a_step_that_proves_little_does_not_end_an_outage(
    breaker: Breaker, clock: Clock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wait(seconds: float) -> None:
        clock.wait(seconds)
        assert breaker.run(Step(), ends_outage=False) == "done"

    monkeypatch.setattr(breaker, "_wait", wait)
    assert breaker.run(Step(*[NOBODY] * 8)) == "done"
    assert len(caplog.records) == 2


def test_a_success_from_before_the_outage_does_not_end_it(breaker: Breaker, clock: Clock) -> None:
    def began_before() -> str:
        clock.now += 1
        with pytest.raises(Away):
            breaker.run(Step(*[NOBODY] * 1000))
        return "done"

    assert breaker.run(began_before) == "done"
    with pytest.raises(Away):
        breaker.run(Step())
