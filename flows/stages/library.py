"""Libraries of demonstrations: a manifest of labelled clips becomes the next frozen version."""

import csv
import io
import json
import posixpath
import re
from collections.abc import Iterator, Sequence
from typing import Annotated, TypeVar
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.demonstrations import label_set
from db.clips import add_clips, clips_with_tokens
from db.engine import session_scope
from db.library import Demonstration, LibraryVersion, import_library
from db.quarantine import open_quarantine
from flows.runtime import Runtime
from flows.stages.tokenize import tokenize_uris
from flows.storage.location import canonical, file_path

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
MAX_ROWS = 10_000
MAX_BYTES = 16 * 2**20


class ManifestError(ValueError):
    """A manifest that cannot become a library; the message names the row."""


class Row(BaseModel):
    """One row of a manifest of labelled clips; other columns may stand beside these."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(min_length=1)
    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


AnyRow = TypeVar("AnyRow", bound=Row)


def build_library(
    runtime: Runtime, name: str, manifest: str, task: str, run_id: UUID, instruction: str | None = None
) -> LibraryVersion:
    """Tokenizes the clips of a manifest (JSONL or CSV) and freezes them, in its order, as a version.

    Raises ManifestError when a row is wrong or a clip is missing or quarantined, and PromptError for labels
    that no prompt can ask for: a library is whole or not.
    """
    if not NAME.fullmatch(name):
        raise ManifestError(f"{name!r} is no name for a library: use up to 63 letters, digits and . _ -")
    rows = read_manifest(runtime, manifest, Row)
    uris = [resolve(canonical(manifest), row.path) for row in rows]
    _ingest_rows(runtime, uris)
    tokenize_uris(runtime, set(uris), run_id)
    contents = _contents(runtime, uris)
    label_set(sorted({row.label for row in rows}))
    demonstrations = [
        Demonstration(contents[uri], row.label, uri) for uri, row in zip(uris, rows, strict=True)
    ]
    with session_scope(runtime.engine) as session:
        return import_library(session, name, task, instruction, demonstrations)


def read_manifest(runtime: Runtime, manifest: str, kind: type[AnyRow]) -> list[AnyRow]:
    """The rows of a JSONL or CSV file on either kind of storage. Raises ManifestError, naming the line."""
    storage = runtime.storage(manifest)
    listed = storage.find(canonical(manifest))
    if listed is None:
        raise ManifestError(f"{manifest} is not there: a manifest is one JSONL or CSV file")
    if listed.size > MAX_BYTES:
        raise ManifestError(f"{manifest} has {listed.size} bytes, the limit is {MAX_BYTES}")
    with storage.read(listed.uri, listed.version_token) as fetched:
        text = fetched.path.read_text(encoding="utf-8-sig")
    rows = list(_rows(text, kind, is_csv=manifest.lower().endswith(".csv")))
    if not 0 < len(rows) <= MAX_ROWS:
        raise ManifestError(f"{manifest} has {len(rows)} rows, 1 to {MAX_ROWS} are needed")
    return rows


def _rows(text: str, kind: type[AnyRow], *, is_csv: bool) -> Iterator[AnyRow]:
    for number, values in _raw_rows(text, is_csv=is_csv):
        try:
            yield kind.model_validate(values)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            field = ".".join(map(str, first["loc"])) or "the row"
            raise ManifestError(f"line {number}: {field}: {first['msg']}; a row is path and label") from error


def _raw_rows(text: str, *, is_csv: bool) -> Iterator[tuple[int, object]]:
    if is_csv:
        yield from enumerate(csv.DictReader(io.StringIO(text)), start=2)
        return
    for number, line in enumerate(text.split("\n"), start=1):  # JSON strings may hold other ends of lines
        if line.strip():
            try:
                yield number, json.loads(line)
            except json.JSONDecodeError as error:
                raise ManifestError(f"line {number} is not JSON: {error.msg}") from error


def resolve(manifest: str, path: str) -> str:
    """A row's uri: a place of its own, or relative to the manifest's folder, which it may not leave."""
    if "://" in path or path.startswith("/"):
        return canonical(path)
    folder = manifest.rpartition("/")[0]
    if manifest.startswith("s3://"):
        return canonical(f"{folder}/{posixpath.normpath(path)}")
    return canonical(str(file_path(folder) / path))


def _ingest_rows(runtime: Runtime, uris: Sequence[str]) -> None:
    """Records the clips of the rows; a uri that is not there is an error of the manifest."""
    found = {uri: runtime.storage(uri).find(uri) for uri in sorted(set(uris))}
    if missing := [uri for uri, listed in found.items() if listed is None]:
        raise ManifestError(f"{len(missing)} clips of the manifest are not there: {', '.join(missing[:5])}")
    with session_scope(runtime.engine) as session:
        add_clips(session, [listed for listed in found.values() if listed], set(uris))


def _contents(runtime: Runtime, uris: Sequence[str]) -> dict[str, bytes]:
    with session_scope(runtime.engine) as session:
        rejected = open_quarantine(session, set(uris))
        clips = clips_with_tokens(session, set(uris), runtime.codec_id)
    if rejected:
        reasons = "; ".join(f"{row.uri}: {row.reason}, {row.message}" for row in rejected[:5])
        raise ManifestError(f"{len(rejected)} clips of the manifest cannot be used: {reasons}")
    return {clip.uri: clip.content_sha256 for clip in clips}
