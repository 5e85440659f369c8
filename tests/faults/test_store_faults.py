"""Every fault of a store, at each kind of request, in passing and for a whole night."""

from collections.abc import Callable, Iterator
from random import Random

import pytest

from tests.faults.conftest import SEED
from tests.faults.proxy import KINDS, Fault, Operation
from tests.faults.scene import Scene, Stage, Verdict

pytestmark = [pytest.mark.faults, pytest.mark.timeout(600)]

WHOLE_NIGHT, BURST = 100_000, 12
RETRIED = {"500", "503", "reset before", "reset after", "cut"}
"""What clients wait for and try again, for longer than a test should take: it comes in a burst."""
REQUESTS: dict[Operation, int] = {"LIST": 2, "GET": 7, "PUT": 3}
"""Of one night, at least."""
MEANINGLESS = {("PUT", "cut"), ("PUT", "truncate"), ("PUT", "flip"), ("LIST", "412"), ("LIST", "wrong etag")}
"""What is not an answer to such a request, or is the same as another one."""
Record = Callable[[str, Verdict], None]


def faults() -> Iterator[tuple[Operation, str, int]]:
    """Yield each fault that means something, and how often it strikes."""
    for operation in REQUESTS:
        for kind in KINDS:
            if (operation, kind) not in MEANINGLESS:
                yield from ((operation, kind, times) for times in (1, longest(kind)))


def longest(kind: str) -> int:
    """Return how many requests a fault hits at most."""
    return BURST if kind in RETRIED else WHOLE_NIGHT


@pytest.mark.parametrize(("operation", "kind", "times"), list(faults()))
def test_a_fault_of_the_store(
    stage: Stage, record: Record, operation: Operation, kind: str, times: int
) -> None:
    first = 0 if times > 1 else Random(f"{SEED} {operation} {kind}").randrange(REQUESTS[operation])
    record(f"{operation} {kind}", stage.disturbed(Fault(operation, kind, first, times)))


@pytest.fixture(scope="module")
def known(scene: Scene) -> Iterator[Scene]:
    """The scene after a night, so that there is something to lose."""
    with scene.after_a_night() as known:
        yield known


@pytest.mark.parametrize("kind", [kind for kind in KINDS if ("LIST", kind) not in MEANINGLESS])
def test_a_fault_of_the_listing_when_all_is_known(known: Scene, record: Record, kind: str) -> None:
    with known.fresh() as stage:
        record(f"LIST {kind}, second night", stage.disturbed(Fault("LIST", kind, 0, longest(kind))))
