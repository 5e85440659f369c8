"""Child processes that run a module of this project and hear their parent on a socket."""

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


def receive_files(channel: socket.socket, max_bytes: int) -> tuple[bytes, list[int]]:
    """Return a message and the descriptor, if any, of the file that came with it; no bytes at the end.

    Raises OSError where a file came and this process may not open another.
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
