"""A listing that lost most clips is not believed, old tokens are taken over, and what failed costs itself."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session

from db.clips import add_clips
from db.listing import ListingCounts, MostClipsLost
from db.models import Clip
from db.object_version import UNLISTED, ObjectVersion
from tests.db.rows import FOLDER, listed


def many(count: int) -> list[ObjectVersion]:
    return [listed(f"{number:03}.wav") for number in range(count)]


def current(session: Session) -> dict[str, str]:
    rows = session.execute(select(Clip.uri, Clip.version_token).where(Clip.missing_since.is_(None)))
    return {uri.removeprefix(FOLDER + "/"): token for uri, token in rows}


@pytest.mark.parametrize(("known", "left"), [(40, 19), (40, 0), (21, 10), (20, 0), (6, 0)])
def test_a_listing_without_most_known_clips_changes_nothing_unless_asked_to(
    session: Session, known: int, left: int
) -> None:
    add_clips(session, many(known), FOLDER)
    with pytest.raises(MostClipsLost, match=rf"{known - left} of {known} .*--allow-loss"):
        add_clips(session, [*many(left), *([listed("new.wav")] if left else [])], FOLDER)
    assert len(current(session)) == known
    gone = add_clips(session, many(left), FOLDER, allow_loss=True)
    assert gone == ListingCounts(new=0, known=left, gone=known - left)


@pytest.mark.parametrize(("known", "left"), [(40, 20), (20, 1), (5, 0), (0, 0)])
def test_a_smaller_loss_is_everyday(session: Session, known: int, left: int) -> None:
    add_clips(session, many(known), FOLDER)
    assert add_clips(session, many(left), FOLDER).gone == known - left


def test_replaced_clips_are_not_lost(session: Session) -> None:
    add_clips(session, many(40), FOLDER)
    changed = [replace(clip, version_token="v2") for clip in many(40)]
    assert add_clips(session, changed, FOLDER) == ListingCounts(new=40, known=0, gone=0)


def test_clips_that_were_missing_before_are_not_lost_again(session: Session) -> None:
    add_clips(session, many(40), FOLDER)
    add_clips(session, many(3), FOLDER, allow_loss=True)
    assert add_clips(session, many(2), FOLDER) == ListingCounts(new=0, known=2, gone=1)


FORMER, TODAY = "10:5:7", "10:5:7:{}"
STATES = st.lists(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 2)), min_size=1, max_size=4)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(STATES, STATES)
def test_rows_of_former_tokens_are_upgraded_in_place(
    session: Session, before: list[dict[str, int]], after: list[dict[str, int]]
) -> None:
    """What earlier versions listed is the same clip, until it changes in what is now looked at."""
    savepoint = session.begin_nested()
    for names in before:
        add_clips(session, [listed(name, FORMER) for name in names], FOLDER, allow_loss=True)
    ids = dict(session.execute(select(Clip.uri, Clip.id)).tuples().all())
    for names in after:
        today = [
            replace(listed(name, TODAY.format(ctime)), former_token=FORMER) for name, ctime in names.items()
        ]
        counts = add_clips(session, today, FOLDER, allow_loss=True)
        again = add_clips(session, today, FOLDER, allow_loss=True)
        assert again == ListingCounts(new=0, known=counts.new + counts.known, gone=0)
        assert current(session) == {name: TODAY.format(ctime) for name, ctime in names.items()}
    first = {name: names[name] for names in reversed(after) for name in names}
    for name in first:
        uri = f"{FOLDER}/{name}"
        if uri in ids:
            taken_over = session.scalars(select(Clip.version_token).where(Clip.id == ids[uri])).one()
            assert taken_over == TODAY.format(first[name])
    savepoint.rollback()


def test_upgrading_tokens_writes_once_and_many(session: Session, statements: list[str]) -> None:
    names = [f"{number:04}.wav" for number in range(1500)]
    add_clips(session, [listed(name, FORMER) for name in names], FOLDER)
    today = [
        replace(listed(name, TODAY.format(number)), former_token=FORMER) for number, name in enumerate(names)
    ]
    assert add_clips(session, today, FOLDER) == ListingCounts(new=0, known=1500, gone=0)
    assert current(session) == {name: TODAY.format(number) for number, name in enumerate(names)}
    statements.clear()
    add_clips(session, today, FOLDER)
    assert [statement.split()[0] for statement in statements] == ["SELECT"]


def test_what_could_not_be_listed_keeps_what_is_known_of_it_and_is_a_row(session: Session) -> None:
    add_clips(
        session, [listed("a.wav"), listed("day/b.wav"), listed("day/c.wav"), listed("days.wav")], FOLDER
    )
    broken = [
        listed("a.wav", f"{UNLISTED}EIO"),
        listed("day", f"{UNLISTED}EACCES"),
        listed("e", f"{UNLISTED}EIO"),
    ]
    counts = add_clips(session, broken, FOLDER)
    assert counts == ListingCounts(new=2, known=0, gone=1, unlisted=3)
    expected = {
        "a.wav": "v1",
        "day/b.wav": "v1",
        "day/c.wav": "v1",
        "day": f"{UNLISTED}EACCES",
        "e": f"{UNLISTED}EIO",
    }
    assert current(session) == expected
    assert add_clips(session, broken, FOLDER).new == 0
    assert current(session) == expected
    healed = [listed("a.wav"), listed("day/b.wav"), listed("day/c.wav")]
    assert add_clips(session, healed, FOLDER).known == 3
    assert set(current(session)) == {"a.wav", "day/b.wav", "day/c.wav"}
