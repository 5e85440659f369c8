"""How far a stage is, as its log and its artifact say."""

import logging
from typing import Any
from uuid import uuid4

import httpx
import pytest

from flows.flow_runs.progress import Progress, duration
from flows.pipeline.runs.counts import Counts, parts, sentence


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, str]]:
    """What the artifact showed, in place of a server."""
    seen: list[tuple[float, str]] = []

    def create(progress: float, key: str, description: str) -> Any:
        seen.append((progress, description))
        return uuid4()

    monkeypatch.setattr("flows.flow_runs.progress.create_progress_artifact", create)
    monkeypatch.setattr(
        "flows.flow_runs.progress.update_progress_artifact",
        lambda _, progress, line: seen.append((progress, line)),
    )
    monkeypatch.setattr("flows.flow_runs.progress.get_run_logger", lambda: logging.getLogger("a run"))
    return seen


def carry(clips: int, batch: int, seconds: float) -> None:
    """A stage of batches that take so many seconds each."""
    times = [0.0]
    progress = Progress("tokenize", clips, clips // batch, lambda: times[0])
    for _ in range(clips // batch):
        times[0] += seconds
        progress.add(batch, Counts(tokenized=batch - 1, quarantined=1) + Counts({"quarantined:silent": 1}))
    progress.end()


def test_a_stage_says_how_far_it_is_and_when_it_will_be_done(
    shown: list[tuple[float, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    carry(1800, 100, 15.0)
    assert caplog.messages[0] == "tokenize: 0 of 1,800 clips, 0 of 18 batches"
    assert (
        "tokenize: 900 of 1,800 clips, 9 of 18 batches, 6.67 clips a second, 2 minutes left"
        in caplog.messages
    )
    assert caplog.messages[-1] == "tokenize: 1,782 tokenized, 18 set aside: silent in 4 minutes"
    assert len(caplog.messages) <= 12
    far = [progress for progress, _ in shown]
    assert far == sorted(far)
    assert (far[0], far[-1]) == (0.0, 100.0)
    assert len(far) == 20


def test_a_fast_stage_says_little_and_a_long_one_not_much_more(
    shown: list[tuple[float, str]], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    carry(1800, 100, 0.01)
    assert len(caplog.messages) == 2
    assert len(shown) == 2
    caplog.clear()
    carry(100_000, 100, 60.0)
    assert len(caplog.messages) <= 12


def test_a_server_that_is_away_costs_no_stage(
    shown: list[tuple[float, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: Any) -> Any:
        raise httpx.ConnectError("away")

    monkeypatch.setattr("flows.flow_runs.progress.update_progress_artifact", away)
    carry(200, 100, 60.0)


def test_times_are_said_as_people_say_them() -> None:
    assert [duration(seconds) for seconds in (0.4, 89, 90, 5400, 36000)] == [
        "0 seconds", "89 seconds", "2 minutes", "1.5 hours", "10.0 hours",
    ]  # fmt: skip


def test_counts_in_words_do_not_overlap() -> None:
    counts = {"label.labeled": 40, "label.uncertain": 16, "tokenize.quarantined": 3}
    reasons = {"tokenize.quarantined:silent": 2, "tokenize.quarantined:too_loud": 1}
    assert parts(counts | reasons) == {
        "label.labeled": 24,
        "label.doubtful": 16,
        "tokenize.set aside: silent": 2,
        "tokenize.set aside: too_loud": 1,
    }
    assert sentence({"labeled": 40, "uncertain": 16, "quarantined": 0}) == "24 labeled, 16 doubtful"
