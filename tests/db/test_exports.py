"""An export is recorded once per selection."""

from dataclasses import replace

from sqlalchemy.orm import Session

from db.exports import Export, find_export, save_export
from tests.db.rows import make_run, sha256


def test_the_first_record_of_a_selection_stays(session: Session) -> None:
    export = Export(sha256("all"), make_run(session), "s3://bucket/runs/1", 3, {"labels.parquet": "ab"})
    assert find_export(session, export.selection_key) is None
    save_export(session, export)
    save_export(session, replace(export, uri="s3://bucket/runs/2"))
    assert find_export(session, export.selection_key) == export
