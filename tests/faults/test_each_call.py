"""One small night, ended or disturbed at each of its calls of database and storage, one after another."""

from collections.abc import Callable
from typing import Any

import psycopg2
import pytest
from sqlalchemy.exc import OperationalError

from flows.cli.torture.fuse import Fuse, Killed, watching_database
from tests.faults.scene import Scene, Verdict

pytestmark = [
    pytest.mark.faults,
    pytest.mark.timeout(2400),
    pytest.mark.parametrize("scene", ["no checksums"], indirect=True),
]

Record = Callable[[str, Verdict], None]


class Hiccup(Fuse):
    """Disturbs the one call of a number, as a server does that is gone for a moment."""

    def __call__(self, *_: Any, **__: Any) -> None:
        """Count a call; raise at that one alone."""
        try:
            super().__call__()
        except Killed:
            self._limit = None
            lost = psycopg2.OperationalError("server closed the connection unexpectedly")
            raise OperationalError("any statement", None, lost) from None


def calls_of(scene: Scene) -> int:
    """Return how many calls an undisturbed night makes."""
    fuse = Fuse()
    with scene.fresh() as stage, watching_database(fuse):
        stage.night(fuse)
    return fuse.calls


@pytest.mark.parametrize("kind", [Fuse, Hiccup], ids=["killed", "disturbed"])
def test_a_night_at_each_of_its_calls(scene: Scene, record: Record, kind: type[Fuse]) -> None:
    failures = []
    for call in range(calls_of(scene)):
        with scene.fresh() as stage:
            try:
                record(f"each call {kind.__name__.lower()}", stage.fused(kind(call)))
            except AssertionError as error:
                failures.append(f"call {call}: {error}")
    assert failures == []
