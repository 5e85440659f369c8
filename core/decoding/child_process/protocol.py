"""The protocol between a decoding child and its parent, over one Unix socket.

The parent sends one byte: to open a clip, with its file descriptor, or to get the next block. The child
answers with facts as JSON and a block of samples, each preceded by its length. The facts are {"sample_rate"},
with {"info"} for the last block, or instead of a block {"rejected": [reason, message]}. So a short clip needs
one request and one answer, and a clip that is abandoned leaves no data on the socket.
"""

import json
import struct

from core.decoding.audio_stream import BLOCK_SAMPLES, Samples

OPEN, NEXT = b"o", b"n"
LENGTHS = struct.Struct("<II")
MAX_FACT_BYTES = 2**16
MAX_BLOCK_BYTES = BLOCK_SAMPLES * 4


def pack_answer(block: Samples | None = None, **facts: object) -> bytes:
    """Return an answer as bytes to send."""
    encoded = json.dumps(facts).encode()
    samples = b"" if block is None else block.tobytes()
    return LENGTHS.pack(len(encoded), len(samples)) + encoded + samples
