"""Answers as files under the run's prefix; the same answers are never written twice to one place."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.exports import Export, find_export, save_export
from flows.runtime import Runtime
from flows.stages.counts import Counts
from flows.stages.damage import is_intact
from flows.stages.label_row import SCHEMA_VERSION, LabelRow
from flows.stages.run import OpenRun, run_session

if TYPE_CHECKING:
    from flows.stages.export import LabelFiles

Rows = Callable[[Session], Iterable[LabelRow]]
"""Reads the rows to write, in uri order; it is called twice in one snapshot of the database."""


@dataclass(frozen=True)
class _Selected:
    """The rows of one snapshot: their key, the export that has them, else their files."""

    key: bytes
    done: Export | None
    files: "LabelFiles | None"


def export_results(runtime: Runtime, rows: Rows, run: OpenRun) -> Counts:
    """Write the rows as Parquet and JSON lines, the manifest last.

    `run.manifest` names the manifest: the new one, or that of the export that has these very rows. Where
    files of that one are missing or changed, all are written again in their place. No transaction is open
    while the store is asked.
    """
    storage = runtime.storage(runtime.settings.storage_uri)
    with ExitStack() as local:
        selected = _select(runtime, rows, local)
        if selected.done and not is_intact(storage, selected.done.digests):
            selected = _select(runtime, rows, local, again=True)
        if selected.done and selected.files is None:
            run.manifest = selected.done.uri
            return Counts(rows=0, unchanged_rows=selected.done.num_rows)
        assert selected.files
        from flows.stages.export import store_files

        written_by = selected.done.run_id if selected.done else run.id
        exported = store_files(selected.files, storage, written_by)
    export = Export(selected.key, written_by, exported.uri, exported.num_rows, exported.sha256s)
    # a snapshot does not take it that another process recorded the same export meanwhile
    with run_session(runtime, run.claim) as session:
        save_export(session, export)
    run.manifest = exported.uri
    return Counts(rows=exported.num_rows)


def is_exported(runtime: Runtime, rows: Rows) -> bool:
    """Whether an export has these very rows, and its files are there."""
    settings = runtime.settings
    with session_scope(runtime.engine) as session:
        done = find_export(session, _selection_key(settings.storage_uri, rows(session)))
    return done is not None and is_intact(runtime.storage(settings.storage_uri), done.digests)


def _select(runtime: Runtime, rows: Rows, local: ExitStack, *, again: bool = False) -> _Selected:
    """Read the rows in one snapshot: what is hashed is what is written, whoever labels meanwhile."""
    with session_scope(runtime.engine) as session:
        session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        key = _selection_key(runtime.settings.storage_uri, rows(session))
        done = find_export(session, key)
        if done and not again:
            return _Selected(key, done, None)
        from flows.stages.export import label_files  # with pyarrow, which is slow to import

        return _Selected(key, done, local.enter_context(label_files(rows(session))))


def _selection_key(storage_uri: str, rows: Iterable[LabelRow]) -> bytes:
    """Names an export: where it goes, its rows and the version of their form."""
    digest = hashlib.sha256(f"labels {SCHEMA_VERSION} {storage_uri}\n".encode())
    for row in rows:
        digest.update(f"{row}\n".encode())
    return digest.digest()
