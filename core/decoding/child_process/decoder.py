"""The parent's side of decoding untrusted clips in a child process.

A clip may crash libsndfile, stall it, make it allocate without end, or take it over. The child
(core.decoding.child_process.main) has bounded resources, is confined, is killed when it takes too long, and
dies with its parent. Its answers are validated. A bad clip costs that clip alone.
"""

import json
import os
import signal
import socket
import time
from collections.abc import Generator, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Self

from core.confinement.child import end_child, start_child
from core.confinement.sandbox import hide_memory
from core.decoding.audio_stream import (
    DEFAULT_LIMITS,
    AudioInfo,
    AudioLimits,
    AudioStream,
    Samples,
)
from core.decoding.child_process.answer import AnswerValidator, InvalidAnswer
from core.decoding.child_process.protocol import LENGTHS, MAX_BLOCK_BYTES, MAX_FACT_BYTES, NEXT, OPEN
from core.errors import AudioRejected

_START_TIMEOUT = 60.0
_CHILD_WORK_SECONDS = 600.0
"""Decoding time after which a child is replaced: its CPU limit counts its whole life and cannot be reset."""

_Answer = tuple[bytes, bytearray]


class ClipDecoder:
    """Decodes clips one after another in one child process, started for the first clip.

    It belongs to one thread, which must outlive it. Close it, or use it as a context manager. The first child
    makes this process unreadable to other processes of its user, debuggers included
    (core.confinement.sandbox.hide_memory).
    """

    def __init__(self, limits: AudioLimits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._child: _DecoderProcess | None = None
        self._clip = AnswerValidator(limits)
        self._seconds_waited = 0.0

    def open(self, path: str | os.PathLike[str]) -> AudioStream:
        """Start decoding a file; this ends the stream that was opened before.

        Raises AudioRejected, now or from the stream, for a bad clip; OSError when the file cannot be opened;
        ChildProcessError when the child was killed from outside, which is worth another try.
        """
        with open(path, "rb") as file:
            self._clip = clip = AnswerValidator(self._limits)
            self._seconds_waited = 0.0
            if self._child and not self._child.usable:
                self.close()
            block = self._ask(OPEN, [file.fileno()])
        return AudioStream(clip.sample_rate, self._blocks(clip, block))

    @property
    def pid(self) -> int | None:
        """Process id of the child, if there is one: its memory is in /proc."""
        return self._child.pid if self._child else None

    def close(self) -> None:
        """End the child; the next clip starts another one."""
        if self._child:
            self._child.end(patience=0.0)
            self._child = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _blocks(self, clip: AnswerValidator, block: Samples) -> Generator[Samples, None, AudioInfo]:
        yield block
        while not clip.info:
            if clip is not self._clip or not self._child:
                raise ValueError(
                    "this clip's decoder has moved on: read a stream before the next one is opened"
                )
            yield self._ask(NEXT)
        return clip.info

    def _ask(self, request: bytes, descriptors: Sequence[int] = ()) -> Samples:
        self._child = self._child or _DecoderProcess(self._limits)
        patience = min(self._limits.stall_timeout, self._limits.decode_timeout - self._seconds_waited)
        started = time.monotonic()
        try:
            answer = self._child.ask(request, descriptors, patience)
            return self._clip.accept(*answer)
        except AudioRejected:
            raise
        except TimeoutError:
            self.close()
            raise AudioRejected("timeout", self._describe_timeout()) from None
        except InvalidAnswer as invalid:
            self.close()
            raise AudioRejected("unreadable", f"invalid answer of the decoding process: {invalid}") from None
        except (OSError, EOFError) as error:
            raise self._death() from error
        except BaseException:  # an interrupt would leave half an answer for the next clip
            self.close()
            raise
        finally:
            self._seconds_waited += time.monotonic() - started

    def _describe_timeout(self) -> str:
        limits = self._limits
        return f"over {limits.stall_timeout} s for one block, or {limits.decode_timeout} s for the clip"

    def _death(self) -> AudioRejected | ChildProcessError:
        """Return the error for a dead child: a crash is the clip's fault, a kill from outside is not."""
        assert self._child
        status = self._child.end(patience=5.0)
        self._child = None
        if status in (-signal.SIGKILL, -signal.SIGTERM):
            return ChildProcessError(f"the decoding process was killed by signal {-status}")
        return AudioRejected(
            "unreadable", f"the decoding process crashed on this clip (exit status {status})"
        )


class _DecoderProcess:
    """The parent's end of one child process."""

    def __init__(self, limits: AudioLimits) -> None:
        hide_memory()
        self._seconds_waited = 0.0
        self._channel, child_end = socket.socketpair()
        with child_end:
            self._process = start_child(
                "core.decoding.child_process.main",
                json.dumps(asdict(limits)),
                json.dumps(_CHILD_WORK_SECONDS + limits.decode_timeout),
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
    def usable(self) -> bool:
        """Whether the child is alive and has CPU time for another clip."""
        return self._process.poll() is None and self._seconds_waited < _CHILD_WORK_SECONDS

    def ask(self, request: bytes, descriptors: Sequence[int], patience: float) -> _Answer:
        """Send a request and return the answer. Raises TimeoutError, OSError or EOFError without one."""
        started = time.monotonic()
        socket.send_fds(self._channel, [request], descriptors)
        answer = self._receive(started + patience)
        self._seconds_waited += time.monotonic() - started
        return answer

    def end(self, patience: float) -> int | None:
        """Return the exit status, or None for a child that was killed after `patience` seconds."""
        self._channel.close()
        return end_child(self._process, patience)

    def _receive(self, deadline: float) -> _Answer:
        fact_bytes, block_bytes = LENGTHS.unpack(self._receive_exactly(LENGTHS.size, deadline))
        if fact_bytes > MAX_FACT_BYTES or block_bytes > MAX_BLOCK_BYTES:
            raise InvalidAnswer(f"{fact_bytes} bytes of facts and {block_bytes} of samples pass the limits")
        facts = self._receive_exactly(fact_bytes, deadline)
        return bytes(facts), self._receive_exactly(block_bytes, deadline)

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
