"""Decodes untrusted clips in a child process: both ends of it, and the protocol between them.

A clip may crash libsndfile, stall it or make it ask for memory without end. The child is bounded in memory,
has neither the parent's environment nor its open files, is killed when it takes too long and dies with its
parent; a bad clip costs that clip alone.

Protocol, over one Unix socket: the parent asks with one byte, accompanied by a file descriptor when a clip
begins; the child answers with facts as JSON and a block of samples, each preceded by its length. The facts
are {"sample_rate"}, with the last block {"info"} too, or instead of a block {"rejected": [reason, message]}.
A short clip is thus one question and one answer, and nothing is sent unasked, so that a clip which is left
half-way leaves nothing behind.
"""

import ctypes
import json
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Any, Self

import numpy as np

from core.child import end_child, start_child
from core.decode import (
    BLOCK_SAMPLES,
    DEFAULT_LIMITS,
    AudioInfo,
    AudioLimits,
    AudioStream,
    Samples,
    open_audio,
)
from core.errors import AudioRejected

CHILD_MEMORY_BYTES = 2 * 1024**3
"""Address space of the child; a clip that needs more is `unreadable`."""

_START_TIMEOUT = 60.0
_LONGEST_PART = BLOCK_SAMPLES * np.float32().itemsize
_ASK = b"?"
_LENGTHS = struct.Struct("<II")
_PR_SET_PDEATHSIG = 1

_Answer = tuple[dict[str, Any], Samples]


class Decoder:
    """Decodes one clip after another in one child process, which starts with the first clip.

    It belongs to one thread, which must outlive it. Close it, or use it as a context manager.
    """

    def __init__(self, limits: AudioLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._child: _Child | None = None
        self._clip = 0
        self._seconds_waited = 0.0

    def open(self, path: str | os.PathLike[str]) -> AudioStream:
        """Start decoding a file; a stream that was opened before can no longer be read.

        Raises AudioRejected, then or from the stream, for what is wrong with the clip; OSError where the file
        cannot be opened, or (ChildProcessError) where somebody else killed the child: worth another try.
        """
        with open(path, "rb") as file:
            self._clip += 1
            self._seconds_waited = 0.0
            if self._child and not self._child.alive:
                self.close()
            facts, block = self._ask([file.fileno()])
        return AudioStream(facts["sample_rate"], self._blocks(self._clip, facts, block))

    @property
    def pid(self) -> int | None:
        """Process id of the child, if there is one: its memory is in /proc."""
        return self._child.pid if self._child else None

    def close(self) -> None:
        """End the child; the next clip would start another."""
        if self._child:
            self._child.end(patience=0.0)
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _blocks(
        self, clip: int, facts: dict[str, Any], block: Samples
    ) -> Generator[Samples, None, AudioInfo]:
        yield block
        while "info" not in facts:
            if clip != self._clip or not self._child:
                raise ValueError(
                    "this clip's decoder has moved on: read a stream before the next one is opened"
                )
            facts, block = self._ask()
            yield block
        return AudioInfo(**facts["info"])

    def _ask(self, descriptors: Sequence[int] = ()) -> _Answer:
        self._child = self._child or _Child(self._limits)
        patience = min(self._limits.stall_timeout, self._limits.decode_timeout - self._seconds_waited)
        started = time.monotonic()
        try:
            facts, block = self._child.ask(descriptors, patience)
        except TimeoutError:
            self.close()
            raise AudioRejected("timeout", self._describe_timeout()) from None
        except (OSError, EOFError) as error:
            raise self._death() from error
        except BaseException:  # an interrupt would leave half an answer for the next clip
            self.close()
            raise
        self._seconds_waited += time.monotonic() - started
        if "rejected" in facts:
            raise AudioRejected(*facts["rejected"])
        return facts, block

    def _describe_timeout(self) -> str:
        limits = self._limits
        return f"over {limits.stall_timeout} s for one block, or {limits.decode_timeout} s for the clip"

    def _death(self) -> AudioRejected | ChildProcessError:
        """A crash is the clip's fault; a kill from outside (operator, memory pressure) says nothing of it."""
        assert self._child
        status = self._child.end(patience=5.0)
        self._child = None
        if status in (-signal.SIGKILL, -signal.SIGTERM):
            return ChildProcessError(f"the decoding process was killed by signal {-status}")
        return AudioRejected(
            "unreadable", f"the decoding process crashed on this clip (exit status {status})"
        )


class _Child:
    """The parent's end of one child process."""

    def __init__(self, limits: AudioLimits) -> None:
        self._channel, child_end = socket.socketpair()
        with child_end:
            self._process = start_child(
                "core.decoder",
                json.dumps(asdict(limits)),
                channel=child_end,
                # No secret for hostile bytes to find, and no threads whose stacks fill the address space.
                environment={"OPENBLAS_NUM_THREADS": "1"},
            )
        try:
            self._receive(time.monotonic() + _START_TIMEOUT)
        except (OSError, EOFError) as error:
            status = self.end(patience=5.0)
            raise ChildProcessError(f"the decoding process did not start (exit status {status})") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def alive(self) -> bool:
        return self._process.poll() is None

    def ask(self, descriptors: Sequence[int], patience: float) -> _Answer:
        """One request and its answer; raises TimeoutError, OSError or EOFError when none comes."""
        deadline = time.monotonic() + patience
        socket.send_fds(self._channel, [_ASK], descriptors)
        return self._receive(deadline)

    def end(self, patience: float) -> int | None:
        """The exit status, or None for a child that did not end within `patience` seconds and was killed."""
        self._channel.close()
        return end_child(self._process, patience)

    def _receive(self, deadline: float) -> _Answer:
        lengths = _LENGTHS.unpack(self._receive_exactly(_LENGTHS.size, deadline))
        if max(lengths) > _LONGEST_PART:
            raise EOFError(f"an answer of {lengths} bytes, the limit is {_LONGEST_PART}")
        facts, samples = (self._receive_exactly(length, deadline) for length in lengths)
        return json.loads(facts), np.frombuffer(samples, np.float32)

    def _receive_exactly(self, size: int, deadline: float) -> bytearray:
        data = bytearray(size)
        rest = memoryview(data)
        while rest:
            self._channel.settimeout(max(1e-3, deadline - time.monotonic()))
            received = self._channel.recv_into(rest)
            if not received:
                raise EOFError("the decoding process closed its channel")
            rest = rest[received:]
        return data


def serve(channel: socket.socket, limits: AudioLimits) -> None:
    """Answer requests until the parent closes its end."""
    answers: Iterator[bytes] = iter(())
    for descriptors in _requests(channel):
        if descriptors:
            answers = _answers(descriptors[0], limits)  # the generator it replaces closes its file
        channel.sendall(next(answers))


def _requests(channel: socket.socket) -> Iterator[list[int]]:
    while True:
        request, descriptors, _, _ = socket.recv_fds(channel, len(_ASK), 1)
        if not request:
            return
        yield descriptors


def _answers(descriptor: int, limits: AudioLimits) -> Iterator[bytes]:
    """Each block is held back until the next one is decoded, so that the last one can carry the info."""
    try:
        with open(descriptor, "rb", buffering=0) as file:
            stream = open_audio(file, limits)
            held: Samples | None = None
            for block in stream:
                if held is not None:
                    yield _answer(held, sample_rate=stream.sample_rate)
                held = block
            yield _answer(held, sample_rate=stream.sample_rate, info=asdict(stream.info))
    except AudioRejected as rejected:
        yield _answer(rejected=[rejected.reason, rejected.message])
    except MemoryError:
        yield _answer(rejected=["unreadable", f"decoding needs over {CHILD_MEMORY_BYTES} bytes"])


def _answer(block: Samples | None = None, **facts: object) -> bytes:
    encoded = json.dumps(facts).encode()
    samples = b"" if block is None else block.tobytes()
    return _LENGTHS.pack(len(encoded), len(samples)) + encoded + samples


def _confine() -> None:
    """Bound memory, leave no core file, and die when the thread that started this process ends."""
    resource.setrlimit(resource.RLIMIT_AS, (CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _silence_decoders() -> None:
    """mpg123 prints its remarks about damaged files."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def main() -> None:
    """The child: limits as JSON in its first argument, the channel as its standard input."""
    limits = AudioLimits(**json.loads(sys.argv[1]))
    with socket.socket(fileno=0) as channel:
        _confine()
        channel.sendall(_answer())
        _silence_decoders()
        serve(channel, limits)


if __name__ == "__main__":
    main()
