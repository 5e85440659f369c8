"""Hashed private copies of objects: what is hashed is what is decoded."""

import hashlib
from collections.abc import Iterable
from os import SEEK_END
from pathlib import Path
from typing import IO

from core.errors import AudioRejected
from flows.pipeline.storage.interface import Fetched

CHUNK_BYTES = 2**20


def check_size(uri: str, size: int, limit: int) -> None:
    """Raise AudioRejected `too_large` if a size, claimed or counted, is over the limit."""
    if size > limit:
        raise AudioRejected(
            "too_large", f"{uri!r} has {size} bytes or more, the limit is {limit} (WORDWAVE_MAX_BYTES)"
        )


def write_hashed(chunks: Iterable[bytes], file: IO[bytes], uri: str, limit: int) -> Fetched:
    """Write chunks to `file` from its start and hash them. Stops at most one chunk past the size limit."""
    if file.seek(0, SEEK_END):  # truncated for nothing, ext4 would write the file to disk as it is closed
        file.seek(0)
        file.truncate()
    digest, size = hashlib.sha256(), 0
    for chunk in chunks:
        size += len(chunk)
        check_size(uri, size, limit)
        digest.update(chunk)
        file.write(chunk)
    return Fetched(path_of(file), digest.digest(), size)


def path_of(file: IO[bytes]) -> Path:
    """Flush a file and return a path that opens it from its start.

    A temporary file has no name, so that no kill leaves it behind.
    """
    file.flush()
    return Path(file.name) if isinstance(file.name, str) else Path(f"/proc/self/fd/{file.fileno()}")


def sha256_of(data: bytes | Path) -> bytes:
    """Return the hash of bytes, or of a file read in chunks."""
    if isinstance(data, bytes):
        return hashlib.sha256(data).digest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()
