"""Child processes that run a module of this project and receive requests on a socket."""

import errno
import os
import resource
import socket
import subprocess
import sys
from collections.abc import Mapping


def start_child(
    module: str, *arguments: str, channel: socket.socket, environment: Mapping[str, str]
) -> subprocess.Popen[bytes]:
    """Start a process with this one's module search path and `channel` as its standard input."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", module, *arguments],
        stdin=channel.fileno(),
        stdout=subprocess.DEVNULL,
        env={**environment, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # a Ctrl-C is the parent's to answer
    )


def end_child(process: subprocess.Popen[bytes], patience: float) -> int | None:
    """Return the exit status, or None for a child that was killed after `patience` seconds."""
    try:
        return process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return None


def receive_files(channel: socket.socket, max_bytes: int) -> tuple[bytes, list[int]]:
    """Return a message and the descriptor, if any, of the file sent with it; empty bytes at the end.

    Raises OSError when a file was sent and this process may not open another one.
    """
    message, descriptors, flags, _ = socket.recv_fds(channel, max_bytes, 1)
    if flags & socket.MSG_CTRUNC:
        for descriptor in descriptors:
            os.close(descriptor)
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise OSError(
            errno.EMFILE,
            f"no descriptor is left for a file that was sent; this process may have {limit} open: "
            "raise the limit (ulimit -n)",
        )
    return message, descriptors
