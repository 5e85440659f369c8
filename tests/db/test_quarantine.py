"""One open row per clip and stage, counted up until it is resolved."""

import pytest
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.clips import add_clips, link_contents
from db.models import QuarantineRow
from db.quarantine import Rejection, open_quarantine, quarantine_clips, quarantine_contents, resolve
from tests.db.rows import FOLDER, clip_id, listed, make_run, make_tokenized_clips, sha256


@pytest.fixture
def clips(session: Session) -> dict[str, int]:
    names = ["a.wav", "b.wav"]
    add_clips(session, map(listed, names), FOLDER)
    return {name: clip_id(session, name) for name in names}


def test_the_same_clip_again_is_another_attempt_of_its_open_row(
    session: Session, clips: dict[str, int]
) -> None:
    first, second = make_run(session, attempt=1), make_run(session, attempt=2)
    quarantine_clips(session, "tokenize", first, [Rejection(clips["a.wav"], "timeout", "30 s")])
    quarantine_clips(session, "tokenize", second, [Rejection(clips["a.wav"], "silent", "-90 dBFS")])
    (row,) = open_quarantine(session, FOLDER)
    assert (row.reason, row.message, row.attempts, row.last_run) == ("silent", "-90 dBFS", 2, second)
    assert session.scalar(select(QuarantineRow.first_run)) == first


def test_rows_come_in_uri_order_for_the_selection(session: Session, clips: dict[str, int]) -> None:
    run_id = make_run(session)
    rejected = [Rejection(clips[name], "empty", "0 bytes") for name in ("b.wav", "a.wav", "a.wav")]
    quarantine_clips(session, "tokenize", run_id, rejected)
    quarantine_clips(session, "tokenize", run_id, [])
    assert [row.uri for row in open_quarantine(session, FOLDER)] == [f"{FOLDER}/a.wav", f"{FOLDER}/b.wav"]
    assert [row.uri for row in open_quarantine(session, [f"{FOLDER}/b.wav"])] == [f"{FOLDER}/b.wav"]
    assert open_quarantine(session, "s3://bucket/other") == []


def test_a_resolved_row_is_history_and_the_next_one_starts_at_one(
    session: Session, clips: dict[str, int]
) -> None:
    bad = Rejection(clips["a.wav"], "unreadable", "no frames")
    quarantine_clips(session, "tokenize", make_run(session), [bad])
    assert resolve(session, "label", [bad.clip_id]) == 0
    assert resolve(session, "tokenize", [bad.clip_id]) == 1
    assert open_quarantine(session, FOLDER) == []
    quarantine_clips(session, "tokenize", make_run(session), [bad])
    assert [row.attempts for row in open_quarantine(session, FOLDER)] == [1]
    assert session.scalar(select(func.count()).select_from(QuarantineRow)) == 2


def test_a_replaced_clip_leaves_the_quarantine_with_its_version(
    session: Session, clips: dict[str, int]
) -> None:
    bad = Rejection(clips["a.wav"], "unreadable", "no frames")
    quarantine_clips(session, "tokenize", make_run(session), [bad])
    add_clips(session, [listed("a.wav", "v2"), listed("b.wav")], FOLDER)
    assert open_quarantine(session, FOLDER) == []


def test_rows_are_found_by_stage(session: Session) -> None:
    add_clips(session, [listed("a.wav")], FOLDER)
    for stage, reason in {"tokenize": "silent", "denoise": "prompt_too_long"}.items():
        rejected = [Rejection(clip_id(session, "a.wav"), reason, "why")]
        quarantine_clips(session, stage, make_run(session), rejected)
    assert [row.stage for row in open_quarantine(session, FOLDER)] == ["denoise", "tokenize"]
    assert [row.reason for row in open_quarantine(session, FOLDER, "denoise")] == ["prompt_too_long"]


def test_a_content_is_set_aside_with_each_current_clip_that_has_it(session: Session) -> None:
    make_tokenized_clips(session, "a.wav", "b.wav", "c.wav")
    link_contents(session, {clip_id(session, "b.wav"): sha256("a.wav")})
    reasons = {sha256("a.wav"): ("failed", "why"), sha256("unknown"): ("failed", "why")}
    assert quarantine_contents(session, "label", make_run(session), reasons) == {"failed": 2}
    assert [row.uri[-5:] for row in open_quarantine(session, FOLDER, "label")] == ["a.wav", "b.wav"]
    assert quarantine_contents(session, "label", make_run(session), {}) == {}
