"""An export is recorded once per selection, before its files and again when they are written."""

from dataclasses import replace

from sqlalchemy.orm import Session

from db.exports import Export, begin_export, complete_export, find_export
from tests.db.rows import make_run, sha256

URI = "s3://bucket/runs/1/a"


def test_the_first_record_of_a_selection_stays(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), URI, 3)
    assert find_export(session, export.selection_key) is None
    assert begin_export(session, export) == export
    later = replace(export, run_id=make_run(session, "later"), uri="s3://bucket/runs/2/a")
    assert begin_export(session, later) == export
    assert find_export(session, export.selection_key) == export


def test_an_export_is_complete_once_that_is_said(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), URI, 3)
    begin_export(session, export)
    complete_export(session, export.selection_key, {"b": "ab"})
    done = replace(export, sha256s={"b": "ab"}, is_complete=True)
    assert find_export(session, export.selection_key) == done
    assert begin_export(session, export) == done
    assert done.digests == {URI: None, "s3://bucket/runs/1/b": b"\xab"}


def test_an_export_that_was_written_again_says_so(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), URI, 3)
    begin_export(session, export)
    complete_export(session, export.selection_key, {"b": "ab"})
    complete_export(session, export.selection_key, {"b": "cd", "a": "ef"})
    found = find_export(session, export.selection_key)
    assert found
    assert found.digests == {URI: b"\xef", "s3://bucket/runs/1/b": b"\xcd"}
