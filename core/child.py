"""Child processes that run a module of this project and hear their parent on a socket."""

import os
import socket
import subprocess
import sys
from collections.abc import Mapping


def start_child(
    module: str, *arguments: str, channel: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """A process that finds modules where this one does, with `channel` as its standard input."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # a Ctrl-C is the parent's to answer
    )


def end_child(process: subprocess.Popen[bytes], patience: float) -> int | None:
    """The exit status, or None for a child that did not end within `patience` seconds and was killed."""
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None
