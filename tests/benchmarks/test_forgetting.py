"""The benchmark of forgetting forgets what it says, and finds nothing of it."""

import pytest

from benchmarks.forgetting import measure, report
from db.embedded.server import EmbeddedServer


def test_many_clips_are_forgotten_at_once(
    postgres: EmbeddedServer, capsys: pytest.CaptureFixture[str]
) -> None:
    measured = measure(postgres, 2_000, 100)
    assert measured.left == 0
    assert measured.rows > 5 * 100
    report(measured)
    assert "100 at once" in capsys.readouterr().out
