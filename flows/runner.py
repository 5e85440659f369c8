"""Serves flows until the process is asked to end, and then ends at a place that is fit for it."""

import asyncio
import signal
from contextlib import suppress
from types import FrameType

from prefect.runner import Runner


class InterruptibleRunner(Runner):
    """A runner that SIGINT and SIGTERM end alike, from their first moment on.

    Prefect's own ends by an exception in whatever the main thread does when a signal comes, and that may drop
    it, or take it for an error of its own: an import, a destructor, a callback of the event loop.
    """

    async def serve(self) -> None:
        """Run what is due until a signal comes; flows that still run are ended first."""
        serving = asyncio.create_task(self.start())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, serving.cancel)
        with suppress(asyncio.CancelledError):
            await serving

    def handle_sigterm(self, signum: int, frame: FrameType | None) -> None:
        """Nothing: Python wakes the event loop too, which cancels."""
