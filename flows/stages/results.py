"""The answers of a place as files under the run's prefix; the same answers are never written twice."""

import hashlib
from collections.abc import Iterator

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.exports import Export, find_export, save_export
from db.labels import current_labels
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.export import SCHEMA_VERSION, LabelRow, export_labels
from flows.stages.run import OpenRun


def export_results(runtime: Runtime, place: str, library: str, run: OpenRun) -> Counts:
    """Writes the current answers of a place by a library as Parquet and JSON lines, the manifest last.

    `run.manifest` names the manifest: the new one, or that of the export that has these very rows.
    """
    with session_scope(runtime.engine) as session:
        key = _selection_key(_rows(session, place, library))
        done = find_export(session, key)
    if done is not None:
        run.manifest = done.uri
        return Counts(rows=0, unchanged_rows=done.num_rows)
    storage = runtime.storage(runtime.settings.storage_uri)
    with session_scope(runtime.engine) as session:
        exported = export_labels(_rows(session, place, library), storage, run.id)
    with session_scope(runtime.engine) as session:
        save_export(session, Export(key, run.id, exported.uri, exported.num_rows, exported.sha256s))
    run.manifest = exported.uri
    return Counts(rows=exported.num_rows)


def _rows(session: Session, place: str, library: str) -> Iterator[LabelRow]:
    for row in current_labels(session, place, library):
        yield LabelRow(**row)


def _selection_key(rows: Iterator[LabelRow]) -> bytes:
    """Names the content of an export: its rows and the version of their form."""
    digest = hashlib.sha256(f"labels {SCHEMA_VERSION}\n".encode())
    for row in rows:
        digest.update(f"{row}\n".encode())
    return digest.digest()
