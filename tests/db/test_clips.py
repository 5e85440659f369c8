"""A listing decides which versions are current; stages see current clips only."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.clips import (
    add_clips,
    clip_uris,
    clips_to_tokenize,
    clips_with_latents,
    clips_with_tokens,
    link_contents,
    shard_uris,
    stored_versions,
)
from db.listing import ListingCounts
from db.models import Clip
from db.quarantine import Rejection, quarantine_clips, resolve
from tests.db.rows import (
    FOLDER,
    clip_id,
    listed,
    make_codec,
    make_run,
    make_tokenized_clips,
    save_without_latent,
    sha256,
    tokenized,
)


def _current(session: Session) -> dict[str, str]:
    rows = session.execute(select(Clip.uri, Clip.version_token).where(Clip.missing_since.is_(None)))
    return {uri.removeprefix(FOLDER + "/"): token for uri, token in rows}


def test_a_second_listing_of_the_same_objects_writes_nothing(session: Session, statements: list[str]) -> None:
    objects = [listed("a.wav"), listed("b.wav")]
    assert add_clips(session, objects, FOLDER) == ListingCounts(new=2, known=0, gone=0)
    statements.clear()
    assert add_clips(session, objects, FOLDER) == ListingCounts(new=0, known=2, gone=0)
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


def test_an_object_that_left_is_gone_and_one_that_came_back_is_known(session: Session) -> None:
    add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER)
    assert add_clips(session, [listed("b.wav")], FOLDER) == ListingCounts(new=0, known=1, gone=1)
    assert _current(session) == {"b.wav": "v1"}
    assert add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER) == ListingCounts(0, 2, 0)
    assert _current(session) == {"a.wav": "v1", "b.wav": "v1"}


def test_changed_bytes_are_a_new_version_and_nothing_is_gone(session: Session) -> None:
    add_clips(session, [listed("a.wav", "v1")], FOLDER)
    assert add_clips(session, [listed("a.wav", "v2")], FOLDER) == ListingCounts(new=1, known=0, gone=0)
    assert _current(session) == {"a.wav": "v2"}
    assert add_clips(session, [listed("a.wav", "v1")], FOLDER) == ListingCounts(new=0, known=1, gone=0)
    assert _current(session) == {"a.wav": "v1"}


def test_a_folder_is_not_every_folder_whose_name_starts_like_it(session: Session) -> None:
    add_clips(session, [listed("a.wav")], FOLDER)
    beside = listed("x").__class__("s3://bucket/day2/a.wav", "v1", 1, listed("x").last_modified)
    add_clips(session, [beside], "s3://bucket/day2/")
    assert add_clips(session, [], FOLDER) == ListingCounts(new=0, known=0, gone=1)
    assert clips_to_tokenize(session, "s3://bucket/day2", 1)[0].uri == beside.uri


def test_listing_one_uri_leaves_its_neighbors_alone(session: Session) -> None:
    add_clips(session, [listed("a.wav"), listed("a.wav/b.wav")], FOLDER)
    one = listed("a.wav", "v2")
    assert add_clips(session, [one], {one.uri}) == ListingCounts(new=1, known=0, gone=0)
    assert _current(session) == {"a.wav": "v2", "a.wav/b.wav": "v1"}


def test_an_object_outside_the_folder_is_refused(session: Session) -> None:
    with pytest.raises(ValueError, match="outside s3://bucket/other"):
        add_clips(session, [listed("a.wav")], "s3://bucket/other")


NAMES = st.sampled_from(["a.wav", "b.wav", "%_.wav", "é ü.wav", "'\"\\.wav"])
LISTINGS = st.lists(st.dictionaries(NAMES, st.sampled_from(["v1", "v2"])), min_size=1, max_size=4)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(LISTINGS)
def test_whatever_came_before_the_last_listing_is_what_is_current(
    session: Session, listings: list[dict[str, str]]
) -> None:
    savepoint = session.begin_nested()
    for versions in listings:
        add_clips(session, [listed(name, version) for name, version in versions.items()], FOLDER)
    assert _current(session) == listings[-1]
    savepoint.rollback()


def test_clips_wait_for_tokens_in_the_order_of_a_listing(session: Session) -> None:
    names = ["b.wav", "B.wav", "a.wav", "é.wav", "a/b.wav"]
    add_clips(session, map(listed, names), FOLDER)
    waiting = clips_to_tokenize(session, FOLDER, make_codec(session))
    assert [clip.uri for clip in waiting] == sorted(f"{FOLDER}/{name}" for name in names)


def test_clips_with_tokens_wait_no_more_and_only_for_another_codec(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav")
    add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER)
    assert [clip.uri for clip in clips_to_tokenize(session, FOLDER, codec_id)] == [f"{FOLDER}/b.wav"]
    assert [clip.uri for clip in clips_with_tokens(session, FOLDER, codec_id)] == [f"{FOLDER}/a.wav"]
    other = make_codec(session, "other")
    assert len(clips_to_tokenize(session, FOLDER, other)) == 2
    assert clips_with_tokens(session, FOLDER, other) == []


def test_a_selection_by_uris_has_these_and_no_others(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav", "b.wav", "c.wav")
    uris = {f"{FOLDER}/c.wav", f"{FOLDER}/a.wav", f"{FOLDER}/not-there.wav"}
    assert [clip.uri for clip in clips_with_tokens(session, uris, codec_id)] == [
        f"{FOLDER}/a.wav",
        f"{FOLDER}/c.wav",
    ]
    assert clips_with_tokens(session, [], codec_id) == []


def test_quarantined_and_missing_clips_do_not_wait(session: Session) -> None:
    codec_id, run_id = make_codec(session), make_run(session)
    add_clips(session, [listed("a.wav"), listed("b.wav"), listed("c.wav")], FOLDER)
    add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER)
    bad = clip_id(session, "b.wav")
    quarantine_clips(session, "tokenize", run_id, [Rejection(bad, "silent", "peak -90 dBFS")])
    assert [clip.uri for clip in clips_to_tokenize(session, FOLDER, codec_id)] == [f"{FOLDER}/a.wav"]
    resolve(session, "tokenize", [bad])
    assert len(clips_to_tokenize(session, FOLDER, codec_id)) == 2


def test_what_one_stage_cannot_use_is_still_there_for_the_others(session: Session) -> None:
    codec_id, run_id = make_tokenized_clips(session, "a.wav", "b.wav"), make_run(session)
    long = clip_id(session, "b.wav")
    quarantine_clips(session, "denoise", run_id, [Rejection(long, "prompt_too_long", "3,000 ids")])
    assert len(clips_with_tokens(session, FOLDER, codec_id)) == 2
    assert [clip.uri for clip in clips_with_tokens(session, FOLDER, codec_id, "denoise")] == [
        f"{FOLDER}/a.wav"
    ]
    assert [version.reason for version in stored_versions(session, FOLDER, codec_id)] == [None, None]
    quarantine_clips(session, "tokenize", run_id, [Rejection(long, "gone", "404")])
    assert len(clips_with_tokens(session, FOLDER, codec_id)) == 1
    assert stored_versions(session, FOLDER, codec_id)[1].reason == "gone"


def test_a_clip_with_tokens_and_no_latent_waits_for_one(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav")
    add_clips(session, [listed("a.wav"), listed("b.wav")], FOLDER)
    old = tokenized(clip_id(session, "b.wav"), "b.wav")
    save_without_latent(session, codec_id, make_run(session), old)
    assert [clip.uri for clip in clips_to_tokenize(session, FOLDER, codec_id)] == [f"{FOLDER}/b.wav"]
    assert [clip.uri for clip in clips_with_latents(session, FOLDER, codec_id)] == [f"{FOLDER}/a.wav"]
    assert len(clips_with_tokens(session, FOLDER, codec_id)) == 2


def test_a_clip_of_known_content_is_linked_without_tokens_of_its_own(session: Session) -> None:
    codec_id = make_tokenized_clips(session, "a.wav")
    add_clips(session, [listed("a.wav"), listed("copy.wav")], FOLDER)
    link_contents(session, {clip_id(session, "copy.wav"): sha256("a.wav")})
    assert [clip.content_sha256 for clip in clips_with_tokens(session, FOLDER, codec_id)] == [
        sha256("a.wav")
    ] * 2


def test_every_current_clip_falls_to_one_shard_and_always_to_the_same(session: Session) -> None:
    names = [f"naïve {number}.wav" for number in range(300)]
    add_clips(session, [listed(name) for name in names], FOLDER)
    shards = [shard_uris(session, FOLDER, number, 3) for number in (1, 2, 3)]
    assert sorted(uri for shard in shards for uri in shard) == sorted(clip_uris(session, FOLDER))
    assert all(len(shard) > 70 for shard in shards)
    assert all(shard == sorted(shard) for shard in shards)
    add_clips(session, [listed(name, "v2") for name in names[100:]], FOLDER)
    kept = set(clip_uris(session, FOLDER))
    assert shard_uris(session, FOLDER, 2, 3) == [uri for uri in shards[1] if uri in kept]
    assert shard_uris(session, FOLDER, 1, 1) == sorted(kept)
