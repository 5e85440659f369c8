"""The child process that decodes untrusted clips: bounded, confined, and answering its parent.

It has neither its parent's environment nor its open files, and once it is ready it cannot open files: each
clip is a descriptor sent by the parent.
"""

import json
import os
import socket
import sys
from collections.abc import Iterator

from core.confinement.child import receive_files
from core.confinement.sandbox import bound_resources, confine
from core.decoding.audio_stream import DEFAULT_LIMITS, AudioLimits, Samples
from core.decoding.child_process.protocol import OPEN, pack_answer
from core.decoding.child_process.rehearsal import make_rehearsal
from core.decoding.in_process import open_audio
from core.errors import AudioRejected

CHILD_MEMORY_BYTES = 2 * 1024**3
"""Address space of the child; a clip that needs more is `unreadable`."""


def serve(channel: socket.socket, limits: AudioLimits) -> None:
    """Answer requests until the parent closes its end."""
    answers: Iterator[bytes] = iter(())
    while True:
        request, descriptors = receive_files(channel, len(OPEN))
        if not request:
            return
        if request == OPEN:
            answers = answer_clip(descriptors[0], limits)  # the generator it replaces closes its file
        channel.sendall(next(answers))


def answer_clip(descriptor: int, limits: AudioLimits) -> Iterator[bytes]:
    """Yield the answers about one clip, and close it.

    Each block is held back until the next one is decoded, so that the last one can include the info.
    """
    try:
        with open(descriptor, "rb", buffering=0) as file:
            stream = open_audio(file, limits)
            held: Samples | None = None
            for block in stream:
                if held is not None:
                    yield pack_answer(held, sample_rate=stream.sample_rate)
                held = block
            yield pack_answer(held, sample_rate=stream.sample_rate, info=vars(stream.info))
    except AudioRejected as rejected:
        yield pack_answer(rejected=[rejected.reason, rejected.message])
    except MemoryError:
        yield pack_answer(rejected=["unreadable", f"decoding needs over {CHILD_MEMORY_BYTES} bytes"])


def rehearse() -> None:
    """Decode clips of every kind, so that everything loaded or created at first use is in memory."""
    for clip in make_rehearsal():
        list(answer_clip(_held_in_memory(clip), DEFAULT_LIMITS))


def _held_in_memory(content: bytes) -> int:
    descriptor = os.memfd_create("clip")
    os.write(descriptor, content)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _silence_decoders() -> None:
    """Redirect stderr to /dev/null: mpg123 prints messages about damaged files."""
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), sys.stderr.fileno())


def settle_in(cpu_seconds: float) -> None:
    """Load all that decoding needs, then confine this process."""
    _silence_decoders()
    rehearse()
    bound_resources(CHILD_MEMORY_BYTES, cpu_seconds)
    confine()


def main() -> None:
    """Serve the channel on standard input; limits and CPU seconds are JSON arguments."""
    limits, cpu_seconds = map(json.loads, sys.argv[1:])
    with socket.socket(fileno=0) as channel:
        settle_in(cpu_seconds)
        channel.sendall(pack_answer())
        serve(channel, AudioLimits(**limits))


if __name__ == "__main__":
    main()
