"""A process that was asked to end does end, whatever it computes at that moment."""

import os
import signal
import threading
import time
from functools import cache

GRACE_SECONDS = 8.0
"""A cancelled run has 15 seconds in all: its runner looks every 3 seconds whether it is gone."""


@cache
def end_after_sigterm() -> None:
    """From now on SIGTERM gives this process a few seconds to end, and then kills it.

    A batch in a thread cannot be interrupted, and Prefect waits for it; whatever it would still have
    written, the next run writes. The watching thread hears of the signal from the operating system: the main
    thread, which would handle it, may be inside a computation too.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    heard, told = os.pipe()
    os.set_blocking(told, False)
    signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(heard,), name="termination", daemon=True).start()


def _watch(heard: int) -> None:
    while os.read(heard, 1)[0] != signal.SIGTERM:
        pass
    time.sleep(GRACE_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)
