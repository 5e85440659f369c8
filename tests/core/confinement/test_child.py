import errno
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from core.confinement.child import receive_files


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_comes_with_its_message() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        socket.send_fds(theirs, [b"o"], [file.fileno()])
        message, (descriptor,) = receive_files(ours, 1)
        os.close(descriptor)
        theirs.send(b"n")
        assert (message, receive_files(ours, 1)) == (b"o", (b"n", []))
        theirs.close()
        assert receive_files(ours, 1) == (b"", [])


def test_a_process_without_descriptors_says_its_limit_and_the_remedy() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, open(os.devnull) as file:
        socket.send_fds(theirs, [b"o"], [file.fileno()])
        with no_descriptor_left(), pytest.raises(OSError, match=r"may have 0 open.*ulimit -n") as caught:
            receive_files(ours, 1)
    assert caught.value.errno == errno.EMFILE
