"""A batch is tried again after what can pass, and only then."""

import pytest
from botocore.exceptions import EndpointConnectionError
from sqlalchemy.exc import OperationalError

from core.errors import AudioRejected
from flows.stages.halving import DeviceFailed
from flows.stages.retry import PAUSES_SECONDS, can_pass, with_retries

CUT = OperationalError("SELECT 1", None, Exception("server closed the connection unexpectedly"))


class Step:
    """A step that raises these errors, one a call, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)
        self.waits: list[float] = []

    def __call__(self) -> str:
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def run(self) -> str:
        return with_retries(self, self.waits.append)


@pytest.mark.parametrize(
    "error", [CUT, ChildProcessError("killed"), EndpointConnectionError(endpoint_url="http://x")]
)
def test_what_can_pass_is_tried_again_a_bounded_number_of_times(error: Exception) -> None:
    patient = Step(error, error, error)
    assert patient.run() == "done"
    assert len(patient.waits) == len(PAUSES_SECONDS)
    assert all(
        pause <= wait <= 1.5 * pause for pause, wait in zip(PAUSES_SECONDS, patient.waits, strict=True)
    )
    with pytest.raises(type(error)):
        Step(*[error] * 4).run()


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
def test_what_cannot_pass_is_raised_at_once(error: Exception) -> None:
    hopeless = Step(error)
    with pytest.raises(type(error)):
        hopeless.run()
    assert hopeless.waits == []
    assert not can_pass(error)
