"""What every storage promises, on each kind of it."""

import hashlib
import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest

from core.errors import AudioRejected
from flows.pipeline.storage import (
    ObjectVersion,
    StorageMissing,
    StorageRefused,
    below,
    canonical,
    open_storage,
)
from tests.fixtures_storage import Store

HOSTILE_NAMES = [
    "a b.wav",
    "a%20b.wav",
    "a+b.wav",
    "ü/ß.wav",
    "u\u0308.wav",  # the same letter to the eye, another name
    "q'\".wav",
    "#h?x=1&y.wav",
    "t\tab.wav",
    "r\rx.wav",
    "back\\slash.wav",
    "😀.wav",
    " lead",
    "semi;colon,comma.wav",
    "{day}.wav",
    "<&>.wav",
    "-rf",
    "a:b@c.wav",
    "..wav",
]


def listed(store: Store, place: str = "") -> list[ObjectVersion]:
    return list(store.storage.list(place or store.world.place))


def only(store: Store) -> ObjectVersion:
    (clip,) = listed(store)
    return clip


def read(store: Store, clip: ObjectVersion) -> bytes:
    with store.storage.read(clip.uri, clip.version_token) as fetched:
        assert fetched.sha256 == hashlib.sha256(fetched.path.read_bytes()).digest()
        assert fetched.size == fetched.path.stat().st_size == clip.size
        return fetched.path.read_bytes()


def test_objects_are_listed_in_the_order_of_their_uris_with_size_and_time(store: Store) -> None:
    for name in random.Random(0).sample(["a/b.wav", "a.wav", "a/a/c.wav", "a-b.wav", "b", "B.wav"], 6):
        store.world.put(name, name.encode())
    clips = listed(store)
    names = ["B.wav", "a-b.wav", "a.wav", "a/a/c.wav", "a/b.wav", "b"]
    assert [clip.uri for clip in clips] == [f"{canonical(store.world.place)}/{name}" for name in names]
    assert [clip.size for clip in clips] == [len(name) for name in names]
    assert all(abs(clip.last_modified - datetime.now(UTC)) < timedelta(minutes=5) for clip in clips)


def test_hostile_names_are_listed_once_in_order_and_read_back_by_their_uri(store: Store) -> None:
    for name in HOSTILE_NAMES:
        store.world.put(name, name.encode())
    clips = listed(store)
    assert all(first.uri < second.uri for first, second in pairwise(clips))
    assert sorted(read(store, clip).decode() for clip in clips) == sorted(HOSTILE_NAMES)
    assert all(clip.uri.startswith(below(canonical(store.world.place))) for clip in clips)
    assert all(store.storage.find(clip.uri) == clip for clip in clips)


def test_a_place_is_a_folder_or_one_object_never_the_beginning_of_a_name(store: Store) -> None:
    for name in ["day/a.wav", "day-old/b.wav", "day.wav", "day/"]:
        store.world.put(name, b"x") if not name.endswith("/") else None
    assert [clip.uri.rsplit("/", 1)[1] for clip in listed(store, f"{store.world.place}/day")] == ["a.wav"]
    assert [clip.uri.rsplit("/", 1)[1] for clip in listed(store, f"{store.world.place}/day/")] == ["a.wav"]
    assert [clip.uri for clip in listed(store, f"{store.world.place}/day.wav")] == [
        f"{canonical(store.world.place)}/day.wav"
    ]


def test_a_place_without_objects_lists_nothing(store: Store) -> None:
    assert listed(store, f"{store.world.place}/2026-11-22") == []
    assert store.storage.find(f"{canonical(store.world.place)}/2026-11-22") is None


def test_the_version_token_stays_until_the_bytes_change(store: Store) -> None:
    uri = store.world.put("a.wav", b"one")
    first = only(store)
    assert only(store) == first == store.storage.find(uri)
    store.world.put("a.wav", b"other")
    assert only(store).version_token != first.version_token


def test_bytes_that_changed_since_the_listing_are_gone(store: Store) -> None:
    store.world.put("a.wav", b"one")
    clip = only(store)
    store.world.put("a.wav", b"two")
    with pytest.raises(AudioRejected) as error, store.storage.read(clip.uri, clip.version_token):
        pass
    assert error.value.reason == "gone"


def test_a_missing_object_is_gone(store: Store) -> None:
    store.world.put("a.wav", b"one")
    clip = only(store)
    store.world.remove("a.wav")
    with pytest.raises(AudioRejected) as error, store.storage.read(clip.uri, clip.version_token):
        pass
    assert error.value.reason == "gone"
    assert listed(store) == []
    assert store.storage.describe(clip.uri) is None


def test_an_object_over_the_limit_is_refused_and_one_at_it_is_read(store: Store) -> None:
    store.world.put("a.wav", b"12345")
    clip = only(store)
    at_limit = open_storage(store.world.place, store.settings.model_copy(update={"max_bytes": 5}))
    with at_limit.read(clip.uri, clip.version_token) as fetched:
        assert fetched.size == 5
    over = open_storage(store.world.place, store.settings.model_copy(update={"max_bytes": 4}))
    with pytest.raises(AudioRejected) as error, over.read(clip.uri, clip.version_token):
        pass
    assert error.value.reason == "too_large"
    assert "WORDWAVE_MAX_BYTES" in error.value.message


def test_an_empty_object_is_listed_and_read(store: Store) -> None:
    store.world.put("a.wav", b"")
    assert read(store, only(store)) == b""


def test_the_private_copy_goes_when_the_block_ends_even_by_an_error(store: Store) -> None:
    store.world.put("a.wav", b"one")
    clip = only(store)
    copies: list[Path] = []

    def fail() -> None:
        with store.storage.read(clip.uri, clip.version_token) as fetched:
            copies.append(fetched.path)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert not copies[0].exists()


def test_many_threads_read_through_one_storage(store: Store) -> None:
    for number in range(40):
        store.world.put(f"{number:02}.wav", str(number).encode() * 1000)
    with ThreadPoolExecutor(8) as threads:
        contents = list(threads.map(lambda clip: read(store, clip), listed(store)))
    assert contents == [str(number).encode() * 1000 for number in range(40)]


def test_a_place_outside_the_read_roots_is_refused_saying_what_is_allowed(store: Store) -> None:
    outside = store.world.place + "x"
    for refused in (lambda: listed(store, outside), lambda: store.storage.find(canonical(outside) + "/a")):
        with pytest.raises(StorageRefused, match="WORDWAVE_READ_ROOTS") as error:
            refused()
        assert canonical(store.world.place) in str(error.value)
    with pytest.raises(StorageRefused), store.storage.read(canonical(outside) + "/a", "0:0:0"):
        pass
    with pytest.raises(StorageRefused):
        store.storage.describe(canonical(outside) + "/a")


def test_no_read_root_allows_no_reading(store: Store) -> None:
    closed = open_storage(store.world.place, store.settings.model_copy(update={"read_roots": ()}))
    with pytest.raises(StorageRefused):
        closed.list(store.world.place)


def test_a_place_named_for_one_command_may_be_read(store: Store) -> None:
    closed = store.settings.model_copy(update={"read_roots": ()})
    uri = store.world.put("a.wav", b"x")
    storage = open_storage(store.world.place, closed.reading(store.world.place))
    assert [clip.uri for clip in storage.list(store.world.place)] == [uri]


def test_dots_do_not_lead_out_of_a_read_root(store: Store) -> None:
    with pytest.raises(StorageRefused):
        listed(store, f"{store.world.place}/../other")


def test_a_missing_root_is_an_error_and_no_empty_listing(store: Store, tmp_path: Path) -> None:
    root = "s3://no-such-bucket-here" if store.world.place.startswith("s3") else str(tmp_path / "unmounted")
    storage = open_storage(root, store.settings.reading(root))
    with pytest.raises(StorageMissing):
        list(storage.list(f"{root}/2026-11-22"))


def test_what_is_written_is_there_whole_with_its_hash(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "big"
    file.write_bytes(bytes(3 * 2**20))
    written: list[tuple[bytes | Path, bytes]] = [(b"bytes", b"bytes"), (file, bytes(3 * 2**20))]
    for data, content in written:
        stored = store.storage.write("audio/a-1.wav", data)
        assert stored.sha256 == hashlib.sha256(content).digest()
        assert stored.size == len(content)
        assert stored.uri == f"{canonical(store.settings.storage_uri)}/audio/a-1.wav"
        found = store.storage.find(stored.uri)
        assert found is not None
        assert read(store, found) == content
        assert store.storage.describe(stored.uri) == replace(stored)


def test_writing_again_leaves_one_object(store: Store) -> None:
    assert store.storage.write("a", b"same") == store.storage.write("a", b"same")
    assert [clip.size for clip in listed(store, store.settings.storage_uri)] == [4]


@pytest.mark.parametrize("key", ["", "/a", "a//b", "a/../b", "..", "a/.", ".hidden", "a b", "ü", "a\n", "a/"])
def test_a_key_that_is_no_plain_name_is_refused(store: Store, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        store.storage.write(key, b"x")


def test_nothing_is_written_where_clips_are_read(store: Store) -> None:
    storage = open_storage(store.world.place, store.settings)
    with pytest.raises(StorageRefused, match="WORDWAVE_STORAGE_URI"):
        storage.write("a", b"x")
    assert listed(store) == []


def test_only_results_are_deleted_and_twice_is_no_error(store: Store) -> None:
    written = store.storage.write("generated/a.wav", b"abc")
    store.storage.write("generated/b.wav", b"abc")
    for _ in range(2):
        store.storage.delete(written.uri)
    assert store.storage.find(written.uri) is None
    assert [
        one.uri.rpartition("/")[2] for one in store.storage.list(f"{store.settings.storage_uri}/generated")
    ] == ["b.wav"]
    clip = store.world.put("a.wav", b"abc")
    with pytest.raises(StorageRefused, match="may not be written"):
        store.storage.delete(clip)
    assert store.storage.find(clip)
