"""The private copy of an object's bytes."""

import hashlib
from collections.abc import Iterator
from io import BytesIO
from itertools import repeat
from tempfile import NamedTemporaryFile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import AudioRejected
from flows.pipeline.storage.hashed_copy import sha256_of, write_hashed


@given(st.lists(st.binary(max_size=20), max_size=5), st.binary(max_size=200))
def test_the_copy_is_the_chunks_and_the_hash_is_theirs_whatever_the_file_held(
    chunks: list[bytes], before: bytes
) -> None:
    with NamedTemporaryFile() as file:
        file.write(before)
        fetched = write_hashed(chunks, file, "s3://bucket/a", limit=100)
        data = b"".join(chunks)
        assert fetched.path.read_bytes() == data
        assert (fetched.sha256, fetched.size) == (hashlib.sha256(data).digest(), len(data))
        assert sha256_of(fetched.path) == sha256_of(data) == fetched.sha256


def test_a_fresh_file_is_not_truncated_which_would_cost_a_write_to_disk() -> None:
    class Fresh(BytesIO):
        name = "fresh"

        def truncate(self, size: int | None = None, /) -> int:
            raise AssertionError("truncated")

    assert write_hashed([b"12", b"345"], Fresh(), "s3://bucket/a", limit=100).size == 5


def test_a_stream_without_end_is_left_at_the_limit() -> None:
    taken = 0

    def endless() -> Iterator[bytes]:
        nonlocal taken
        for chunk in repeat(b"12345"):
            taken += 1
            yield chunk

    with NamedTemporaryFile() as file, pytest.raises(AudioRejected, match="WORDWAVE_MAX_BYTES") as error:
        write_hashed(endless(), file, "s3://bucket/a", limit=12)
    assert error.value.reason == "too_large"
    assert taken == 3
