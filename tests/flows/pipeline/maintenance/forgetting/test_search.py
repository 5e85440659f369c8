"""A search for many byte strings finds all of them and nothing else."""

from random import Random

import pytest

from flows.pipeline.maintenance.forgetting.names import Names
from flows.pipeline.maintenance.forgetting.search import ByteSearch


@pytest.mark.parametrize("seed", range(5))
def test_it_finds_what_a_plain_search_finds(seed: int) -> None:
    random = Random(seed)
    data = bytes(random.choices(b"abc/", k=5_000))
    inside = {data[at : at + random.randint(8, 20)] for at in random.sample(range(4_900), 30)}
    others = {bytes(random.choices(b"abc/", k=random.randint(8, 20))) for _ in range(300)}
    wanted = inside | others
    plain = {(at, one) for one in wanted for at in range(len(data)) if data.startswith(one, at)}
    assert set(ByteSearch(wanted).find(data)) == plain
    assert {one for _, one in plain} >= inside


def test_short_data_and_no_names_have_none() -> None:
    assert list(ByteSearch({b"12345678"}).find(b"1234567")) == []
    assert list(ByteSearch(set()).find(b"1" * 100)) == []
    with pytest.raises(ValueError, match="too short"):
        ByteSearch({b"1234567"})


def test_a_longer_address_is_another_name() -> None:
    names = Names(frozenset(), frozenset({"s3://calls/a.wav", "file:///c/%22a%22.wav"}))
    assert names.are_in(b'{"uri": "s3://calls/a.wav"}')
    assert names.are_in(b"s3://calls/a.wav")
    assert not names.are_in(b"s3://calls/a.wave and s3://calls/a.wav/b")
    assert names.are_in(b"s3://calls/a.wave s3://calls/a.wav, again")


def test_digests_are_found_as_bytes_and_in_hex() -> None:
    digest = bytes(range(32))
    names = Names(frozenset({digest}), frozenset())
    assert names.are_in(b"\0\x20" + digest + b"\0")
    assert names.are_in(b"\\x" + digest.hex().encode() + b"ff")
    assert not names.are_in(digest[1:])
