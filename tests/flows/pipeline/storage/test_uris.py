"""One canonical URI per object."""

import os
from itertools import starmap
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from flows.pipeline.storage import StorageRefused, below, canonical
from flows.pipeline.storage.uris import file_path, file_uri, own_key, split_s3, within

names = st.binary(min_size=1, max_size=12).filter(
    lambda name: not set(name) & set(b"/\0") and name not in {b".", b".."}
)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: os.fsdecode(b"/" + b"/".join(parts)))
keys = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)
segments = st.lists(st.sampled_from(["a", "b", "ab", "a b", "a.b", "%41"]), max_size=3)


@given(paths)
def test_any_path_of_bytes_is_one_ascii_uri_and_comes_back(path: str) -> None:
    uri = file_uri(path)
    assert uri.isascii()
    assert file_path(uri) == Path(path)


@given(paths, paths)
def test_two_paths_never_share_a_uri(one: str, other: str) -> None:
    assert (file_uri(one) == file_uri(other)) == (one == other)


@given(keys)
def test_an_s3_key_stands_in_its_uri_verbatim(key: str) -> None:
    assert split_s3(f"s3://some-bucket/{key}") == ("some-bucket", key)


@given(paths | keys.map(lambda key: f"s3://bucket/{key}"))
def test_the_canonical_form_of_a_canonical_form_is_itself(place: str) -> None:
    try:
        once = canonical(place)
    except StorageRefused:
        assume(False)
    assert canonical(once) == once.removesuffix("/") or once == "file:///"


@given(segments, segments)
def test_a_root_holds_exactly_what_continues_its_folders(place: list[str], root: list[str]) -> None:
    expected = place[: len(root)] == root
    assert within("/".join(["s3://bucket", *place]), "/".join(["s3://bucket", *root])) == expected
    uris = starmap(lambda *parts: canonical("/nowhere/" + "/".join(parts)), [place, root])
    assert within(*uris) == expected


@given(segments)
def test_the_whole_disk_as_a_root_holds_every_path(place: list[str]) -> None:
    assert within(canonical("/" + "/".join(place)), canonical("/"))
    assert below(canonical("/")) == "file:///"


def test_a_slash_that_belongs_to_a_key_does_not_widen_a_root() -> None:
    with pytest.raises(StorageRefused, match="folder without a name"):
        canonical("s3://bucket/a//")


def test_local_places_may_be_relative_or_at_home_and_links_are_resolved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    spellings = ["real", "./real/", "~/real", "link", str(tmp_path / "link"), file_uri(tmp_path / "link")]
    assert {canonical(place) for place in spellings} == {file_uri(tmp_path / "real")}


@pytest.mark.parametrize(
    "place",
    [
        "",
        "s3://",
        "s3:///key",
        "s3://a/key",
        "s3://user:pass@bucket/key",
        "s3://bucket name/key",
        "s3://bucket/a/../b",
        "s3://bucket/./b",
        "https://bucket/key",
        "file://host/folder",
        "file://",
        "/a\0b",
        "file:///a%00b",
    ],
)
def test_what_is_no_place_is_refused(place: str) -> None:
    with pytest.raises(StorageRefused):
        canonical(place)


@given(st.from_regex(r"[a-z0-9]{1,5}(/[a-z0-9._=-]{1,5}){0,2}", fullmatch=True))
def test_a_key_of_ours_stays_below_its_base(key: str) -> None:
    try:
        own_key(key)
    except ValueError:
        assert any(part.startswith(".") for part in key.split("/"))
    else:
        assert within(canonical(f"/base/{key}"), canonical("/base"))
