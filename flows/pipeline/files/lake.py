"""The lake: one Parquet file of current rows for each day and library, and of codes for each day and codec.

A file is replaced whole, so a day that runs twice has no row twice. Its columns and their comments are those
of a view, analytics.lake_labels or analytics.lake_tokens.
"""

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import date
from tempfile import TemporaryFile
from typing import IO
from urllib.parse import quote
from uuid import UUID

from sqlalchemy.orm import Session

from db.engine import session_scope
from db.lake import LakeKind, changed_days, lake_rows
from db.libraries import library_names
from db.locks import PartitionBusy, partition_lock
from flows.pipeline.runs.counts import Counts
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage import Storage, StorageDenied, Stored
from flows.pipeline.storage.hashed_copy import path_of, sha256_of
from flows.pipeline.storage.uris import canonical

SCHEMA_VERSION = 1
CODEC_HEX_DIGITS = 12
METADATA_KEY = b"wordwave"
IN_FOLDERS = frozenset({"day", "library"})
"""The columns that are in the names of folders, too."""
Part = tuple[LakeKind, str]
ATTEMPTS, PAUSE_SECONDS = 300, 0.2


@dataclass(frozen=True)
class LakeFile:
    """A file of the lake: of a library, or of a codec by its fingerprint."""

    kind: LakeKind
    day: date
    part: str

    @property
    def key(self) -> str:
        """The key under the results."""
        name = (
            f"library={quote(self.part, safe='')}"
            if self.kind == "labels"
            else f"codec={self.part[:CODEC_HEX_DIGITS]}"
        )
        return f"{self.kind}/day={self.day}/{name}/{self.kind}.parquet"


def keep_lake(runtime: Runtime, run: UUID, library: str, day: date | None = None) -> Counts:
    """Replace the files of a library and of the settings' codec that a night changed, and look at its day.

    Returns no counts, since files are no clips.
    """
    with session_scope(runtime.engine) as session:
        days = changed_days(session, run, [library]) | ({day} if day else set())
    parts: list[Part] = [("labels", library), ("tokens", runtime.codec_fingerprint)]
    for changed in sorted(days):
        for kind, part in parts:
            _write(runtime, LakeFile(kind, changed, part))
    return Counts()


def refresh_lake(runtime: Runtime, run: UUID, library: str) -> Counts:
    """Replace the files of a library whose answers a run changed. It makes none, as keep_lake does."""
    return _refresh(runtime, run, [library], [("labels", library)])


def refresh_whole_lake(runtime: Runtime, run: UUID) -> Counts:
    """Replace the files of every library and of the settings' codec that a run changed; it makes none."""
    with session_scope(runtime.engine) as session:
        libraries = library_names(session)
    parts: list[Part] = [*(("labels", library) for library in libraries)]
    return _refresh(runtime, run, libraries, [*parts, ("tokens", runtime.codec_fingerprint)])


def _refresh(runtime: Runtime, run: UUID, libraries: Sequence[str], parts: Sequence[Part]) -> Counts:
    with session_scope(runtime.engine) as session:
        days = changed_days(session, run, libraries)
    for day in sorted(days):
        for kind, part in parts:
            _write(runtime, LakeFile(kind, day, part), only_if_there=True)
    return Counts()


def _write(runtime: Runtime, file: LakeFile, *, only_if_there: bool = False) -> None:
    """Replace a file if its rows changed. One that has no rows from the start is not made.

    Whoever writes a file holds its lock from reading the rows on, so that older rows never replace newer
    ones. No transaction is open during requests to the store.
    """
    storage_uri = runtime.settings.storage_uri
    storage, uri = runtime.storage(storage_uri), f"{canonical(storage_uri)}/{file.key}"
    with held(runtime, file.key), TemporaryFile() as local:
        stored = _describe(storage, uri)
        if only_if_there and stored is None:
            return
        with session_scope(runtime.engine) as session:
            num_rows = _write_rows(session, file, local)
        if num_rows == 0 if stored is None else stored.sha256 == sha256_of(path_of(local)):
            return
        storage.write(file.key, path_of(local))


def _describe(storage: Storage, uri: str) -> Stored | None:
    """Return what is stored; a file that may not be looked at counts as none, and is written each time."""
    try:
        return storage.describe(uri)
    except StorageDenied:
        return None


def _write_rows(session: Session, file: LakeFile, local: IO[bytes]) -> int:
    import pyarrow as pa

    from flows.pipeline.files.arrow import column_type, write_parquet

    about = {"schema_version": SCHEMA_VERSION, "view": f"analytics.lake_{file.kind}", "day": str(file.day)}
    about["library" if file.kind == "labels" else "codec_fingerprint"] = file.part
    with lake_rows(session, file.kind, file.day, file.part) as rows:
        fields = [
            # readers of whole folders take the folders' names for texts of this type
            pa.field(
                name,
                pa.dictionary(pa.int32(), pa.string()) if name in IN_FOLDERS else column_type(oid),
                metadata={"comment": rows.comments.get(name, "")},
            )
            for name, oid in zip(rows.columns, rows.types, strict=True)
        ]
        return write_parquet(pa.schema(fields, {METADATA_KEY: json.dumps(about)}), rows.rows, local)


@contextmanager
def held(runtime: Runtime, key: str) -> Iterator[None]:
    """Hold a file by its key, after waiting for another writer of it. Raises PartitionBusy after a minute."""
    with ExitStack() as stack:
        for attempt in range(1, ATTEMPTS + 1):
            try:
                stack.enter_context(partition_lock(runtime.database_url, f"lake {key}"))
                break
            except PartitionBusy:
                if attempt == ATTEMPTS:
                    raise
                time.sleep(PAUSE_SECONDS)
        yield
