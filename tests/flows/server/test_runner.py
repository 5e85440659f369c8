"""A runner ends when its process is asked to, whatever it does at that moment."""

import asyncio
import os
import signal
from typing import Self

import pytest

from flows.server.runner import InterruptibleRunner

pytestmark = [pytest.mark.usefixtures("prefect_server"), pytest.mark.timeout(120)]


class Interrupting:
    """Sends a signal to its own process from a destructor, out of which no exception comes."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)


class InterruptedAtTheStart(InterruptibleRunner):
    """Hears of a signal before it serves."""

    number = signal.SIGTERM

    async def __aenter__(self) -> Self:
        Interrupting(self.number)
        return await super().__aenter__()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_comes_while_it_starts_is_not_lost(number: signal.Signals) -> None:
    runner = InterruptedAtTheStart(name="starting", pause_on_shutdown=False)
    runner.number = number
    asyncio.run(runner.serve())
    assert not runner.started


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_one_that_serves(number: signal.Signals) -> None:
    runner = InterruptibleRunner(name="serving", pause_on_shutdown=False)

    async def served_and_interrupted() -> None:
        serving = asyncio.create_task(runner.serve())
        while not runner.started:
            await asyncio.sleep(0.05)
        os.kill(os.getpid(), number)
        await serving

    asyncio.run(served_and_interrupted())
    assert not runner.started
