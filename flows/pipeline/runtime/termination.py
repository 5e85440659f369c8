"""Termination on SIGTERM, even in the middle of a computation."""

import os
import signal
import threading
import time
from functools import cache

GRACE_SECONDS = 8.0
"""A cancelled run has 15 seconds in all, and its runner polls every 3 seconds."""


@cache
def end_after_sigterm() -> None:
    """Kill this process a few seconds after SIGTERM, unless it has ended by then.

    A batch in a thread cannot be interrupted, and Prefect waits for it; the next run writes what is left. A
    thread watches for the signal, since the main thread, which would handle it, may be computing too.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    receiver, sender = os.pipe()
    os.set_blocking(sender, False)
    signal.set_wakeup_fd(sender, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(receiver,), name="termination", daemon=True).start()


def _watch(receiver: int) -> None:
    while os.read(receiver, 1)[0] != signal.SIGTERM:
        pass
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
