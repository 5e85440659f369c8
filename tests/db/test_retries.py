"""What the outside kept from us is tried again by later nights, with growing distance; bad bytes are not."""

from datetime import timedelta

import pytest
from sqlalchemy import func, update
from sqlalchemy.orm import Session

from db.clips import add_clips, clips_to_tokenize, stored_versions
from db.models import QuarantineRow
from db.quarantine import Rejection, open_quarantine, quarantine_clips
from tests.db.rows import FOLDER, clip_id, listed, make_codec, make_run


def waits(session: Session, reason: str, attempts: int, since: timedelta) -> bool:
    """Return whether a clip last tried that long ago is left alone."""
    add_clips(session, [listed("a.wav")], FOLDER)
    rejected = [Rejection(clip_id(session, "a.wav"), reason, "why")]
    quarantine_clips(session, "tokenize", make_run(session), rejected)
    session.execute(update(QuarantineRow).values(attempts=attempts, last_seen=func.now() - since))
    codec_id = make_codec(session)
    held = not clips_to_tokenize(session, FOLDER, codec_id)
    (version,) = stored_versions(session, FOLDER, codec_id)
    assert version.reason == (reason if held else None)
    return held


HOURS = {1: 1, 2: 6, 3: 20, 4: 44, 5: 92, 8: 764, 9: 764, 10_000: 764}


@pytest.mark.parametrize("reason", ["gone", "denied", "timeout", "transfer"])
@pytest.mark.parametrize(("attempts", "hours"), HOURS.items())
def test_what_may_pass_is_tried_again_later_each_time(
    session: Session, reason: str, attempts: int, hours: int
) -> None:
    margin = timedelta(minutes=1)
    assert waits(session, reason, attempts, timedelta(hours=hours) - margin)
    session.execute(update(QuarantineRow).values(resolved_at=func.now()))
    assert not waits(session, reason, attempts, timedelta(hours=hours) + margin)


@pytest.mark.parametrize("reason", ["unreadable", "silent", "failed", "too_long"])
def test_what_lies_in_the_bytes_waits_for_ever(session: Session, reason: str) -> None:
    assert waits(session, reason, 1, timedelta(days=10_000))


def test_a_clip_that_fails_again_keeps_its_row_and_waits_longer(session: Session) -> None:
    assert not waits(session, "gone", 1, timedelta(hours=2))
    rejected = [Rejection(clip_id(session, "a.wav"), "gone", "still")]
    quarantine_clips(session, "tokenize", make_run(session, attempt=2), rejected)
    (row,) = open_quarantine(session, FOLDER)
    assert (row.attempts, row.message) == (2, "still")
    assert not clips_to_tokenize(session, FOLDER, make_codec(session))
