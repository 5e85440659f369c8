"""An export is recorded once per selection."""

from dataclasses import replace

from sqlalchemy.orm import Session

from db.exports import Export, find_export, save_export
from tests.db.rows import make_run, sha256


def test_the_first_record_of_a_selection_stays(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), "s3://bucket/runs/1", 3, {"labels.parquet": "ab"})
    assert find_export(session, export.selection_key) is None
    save_export(session, export)
    save_export(session, replace(export, run_id=make_run(session, "later"), uri="s3://bucket/runs/2"))
    assert find_export(session, export.selection_key) == export


def test_an_export_that_was_written_again_says_so(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), "s3://bucket/runs/1/a", 3, {"b": "ab"})
    save_export(session, export)
    again = replace(export, sha256s={"b": "cd", "a": "ef"})
    save_export(session, again)
    found = find_export(session, export.selection_key)
    assert found == again
    assert found.digests == {"s3://bucket/runs/1/a": b"\xef", "s3://bucket/runs/1/b": b"\xcd"}
    assert export.digests == {"s3://bucket/runs/1/a": None, "s3://bucket/runs/1/b": b"\xab"}
