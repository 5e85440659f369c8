"""Exit with status 0 on SIGINT or SIGTERM, at any moment."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from types import FrameType

SERVER_SECONDS = 15.0


def exit_when_interrupted(server: "subprocess.Popen[bytes] | None" = None) -> None:
    """Exit on SIGINT and SIGTERM from now on, and stop the server first.

    No exception is raised: an import, a destructor or a callback could swallow it or report it as an error.
    """

    def leave(signum: int, frame: FrameType | None) -> None:
        if server is not None:
            end_child(server.pid)
        os._exit(0)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


def end_child(pid: int) -> None:
    """Ask a child process to end, kill it if it does not, and wait until it is gone.

    The pid is used, since the interrupted code may hold the lock of Popen.wait.
    """
    with suppress(ProcessLookupError, ChildProcessError):
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + SERVER_SECONDS
        while os.waitpid(pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
