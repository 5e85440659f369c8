"""Answers as files under the run's prefix; the same answers are never written twice to one place."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.exports import Export, find_export, save_export
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.label_row import SCHEMA_VERSION, LabelRow
from flows.stages.run import OpenRun, run_session

Rows = Callable[[Session], Iterable[LabelRow]]
"""Reads the rows to write, in uri order; it is called twice in one snapshot of the database."""


def export_results(runtime: Runtime, rows: Rows, run: OpenRun) -> Counts:
    """Write the rows as Parquet and JSON lines, the manifest last.

    `run.manifest` names the manifest: the new one, or that of the export that has these very rows. No
    transaction is open while files are uploaded.
    """
    storage_uri = runtime.settings.storage_uri
    with ExitStack() as local:
        with session_scope(runtime.engine) as session:
            # what is hashed is what is written, whoever labels meanwhile
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
            key = _selection_key(storage_uri, rows(session))
            if (done := find_export(session, key)) is not None:
                run.manifest = done.uri
                return Counts(rows=0, unchanged_rows=done.num_rows)
            from flows.stages.export import label_files, store_files  # with pyarrow, which is slow to import

            files = local.enter_context(label_files(rows(session)))
        exported = store_files(files, runtime.storage(storage_uri), run.id)
    # a snapshot does not take it that another process recorded the same export meanwhile
    with run_session(runtime, run.claim) as session:
        save_export(session, Export(key, run.id, exported.uri, exported.num_rows, exported.sha256s))
    run.manifest = exported.uri
    return Counts(rows=exported.num_rows)


def is_exported(runtime: Runtime, rows: Rows) -> bool:
    """Whether an export has these very rows."""
    with session_scope(runtime.engine) as session:
        return find_export(session, _selection_key(runtime.settings.storage_uri, rows(session))) is not None


def _selection_key(storage_uri: str, rows: Iterable[LabelRow]) -> bytes:
    """Names an export: where it goes, its rows and the version of their form."""
    digest = hashlib.sha256(f"labels {SCHEMA_VERSION} {storage_uri}\n".encode())
    for row in rows:
        digest.update(f"{row}\n".encode())
    return digest.digest()
