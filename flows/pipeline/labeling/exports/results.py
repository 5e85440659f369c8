"""Exports of answers to files under the run's prefix. Equal answers are never written twice."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.exports import Export, begin_export, complete_export, find_export
from flows.pipeline.labeling.exports.row import SCHEMA_VERSION, ExportedRow
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runs.run import OpenRun, run_session
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage
from flows.pipeline.storage.damage import is_intact
from flows.pipeline.storage.uris import canonical

if TYPE_CHECKING:
    from flows.pipeline.labeling.exports.files import LabelFiles

Rows = Callable[[Session], Iterable[ExportedRow]]
"""Returns the rows to write, in uri order. It is called twice in one snapshot of the database."""


@dataclass(frozen=True)
class _Selected:
    """The rows of one snapshot: their key, and the export that has them or their files."""

    key: bytes
    done: Export | None
    files: "LabelFiles | None"


def write_export(runtime: Runtime, rows: Rows, run: OpenRun) -> Counts:
    """Write the rows as Parquet and JSON lines, the manifest last.

    `run.manifest` is the new manifest, or that of the export that has the same rows. If files of that export
    are missing or changed, all are written again in their place. No transaction is open during requests to
    the store.
    """
    storage_uri = runtime.settings.storage_uri
    storage = runtime.storage(storage_uri)
    with ExitStack() as local:
        selected = _select(runtime, rows, local)
        if selected.done and not _is_there(storage, selected.done):
            selected = _select(runtime, rows, local, again=True)
        if selected.done and selected.files is None:
            run.manifest = selected.done.uri
            return Counts(rows=0, unchanged_rows=selected.done.num_rows)
        assert selected.files
        from flows.pipeline.labeling.exports.files import MANIFEST, store_files

        # its own transaction: another process may have begun the same export since the snapshot
        uri = f"{canonical(storage_uri)}/runs/{run.id}/{MANIFEST}"
        new = Export(selected.key, run.id, uri, selected.files.num_rows)
        with run_session(runtime, run.claim) as session:
            begun = begin_export(session, new)
        sha256s = store_files(selected.files, storage, begun.run_id)
    with run_session(runtime, run.claim) as session:
        complete_export(session, begun.selection_key, sha256s)
    run.manifest = begun.uri
    return Counts(rows=begun.num_rows)


def is_exported(runtime: Runtime, rows: Rows) -> bool:
    """Return whether an export has the same rows, and its files are intact."""
    settings = runtime.settings
    with session_scope(runtime.engine) as session:
        done = find_export(session, _selection_key(settings.storage_uri, rows(session)))
    return done is not None and _is_there(runtime.storage(settings.storage_uri), done)


def _is_there(storage: Storage, export: Export) -> bool:
    return export.is_complete and is_intact(storage, export.digests)


def _select(runtime: Runtime, rows: Rows, local: ExitStack, *, again: bool = False) -> _Selected:
    """Read the rows in one snapshot: what is hashed is what is written, even during other runs."""
    with session_scope(runtime.engine) as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        key = _selection_key(runtime.settings.storage_uri, rows(session))
        done = find_export(session, key)
        if done and not again:
            return _Selected(key, done, None)
        from flows.pipeline.labeling.exports.files import label_files  # with pyarrow, which is slow to import

        return _Selected(key, done, local.enter_context(label_files(rows(session))))


def _selection_key(storage_uri: str, rows: Iterable[ExportedRow]) -> bytes:
    """Return the key of an export, made of its place, its rows and the version of their format."""
    digest = hashlib.sha256(f"labels {SCHEMA_VERSION} {storage_uri}\n".encode())
    for row in rows:
        digest.update(f"{row}\n".encode())
    return digest.digest()
