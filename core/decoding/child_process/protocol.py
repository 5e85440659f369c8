"""What a decoding child and its parent say to each other, over one Unix socket.

The parent asks with one byte: to open a clip, accompanied by its file descriptor, or for the next block. The
child answers with facts as JSON and a block of samples, each preceded by its length. The facts are
{"sample_rate"}, with the last block {"info"} too, or instead of a block {"rejected": [reason, message]}.
A short clip is thus one question and one answer, and nothing is sent unasked, so that a clip which is left
half-way leaves nothing behind.
"""

import json
import struct

from core.decoding.in_process import BLOCK_SAMPLES, Samples

OPEN, NEXT = b"o", b"n"
LENGTHS = struct.Struct("<II")
MAX_FACT_BYTES = 2**16
MAX_BLOCK_BYTES = BLOCK_SAMPLES * 4


def pack_answer(block: Samples | None = None, **facts: object) -> bytes:
    """Return an answer as it is sent."""
    encoded = json.dumps(facts).encode()
    samples = b"" if block is None else block.tobytes()
    return LENGTHS.pack(len(encoded), len(samples)) + encoded + samples
