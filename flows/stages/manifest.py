"""Manifests of clips: JSONL or CSV files on either kind of storage, one row a clip and what answers it."""

import csv
import io
import json
import posixpath
from collections.abc import Iterator
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import PromptError
from core.generation_prompt import check_text
from flows.runtime import Runtime
from flows.storage.location import canonical, file_path

MAX_ROWS = 10_000
MAX_BYTES = 16 * 2**20
NAMED = 5
"""So many wrong lines are named."""


class ManifestError(ValueError):
    """A file of rows that cannot be used; the message names the lines."""


def _check_text(text: str) -> str:
    try:
        check_text(text)
    except PromptError as error:
        raise ValueError(str(error)) from error
    return text


class ClipRow(BaseModel):
    """A clip of a manifest; other columns may stand beside those of its kind."""

    model_config = ConfigDict(frozen=True)

    path: str = Field(min_length=1)


class LabeledClip(ClipRow):
    """A clip and what it is."""

    label: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200)]


class TextClip(ClipRow):
    """A clip and the text that it says, or what is heard in it; a number may be written as one."""

    model_config = ConfigDict(coerce_numbers_to_str=True)

    text: Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_check_text)]


class NoisyClip(ClipRow):
    """A noisy clip and the clean one, `target`."""

    target: str = Field(min_length=1)


AnyRow = TypeVar("AnyRow", bound=ClipRow)


def read_manifest(runtime: Runtime, manifest: str, kind: type[AnyRow]) -> list[AnyRow]:
    """The rows of a JSONL or CSV file on either kind of storage. Raises ManifestError, naming the lines."""
    text = read_text(runtime, manifest)
    rows = list(_rows(text, kind, is_csv=manifest.lower().endswith(".csv")))
    if not 0 < len(rows) <= MAX_ROWS:
        raise ManifestError(f"{manifest} has {len(rows)} rows, 1 to {MAX_ROWS} are needed")
    return rows


def read_text(runtime: Runtime, place: str) -> str:
    """A small text file, bytes that are no UTF-8 as what is not printable. Raises ManifestError."""
    storage = runtime.storage(place)
    listed = storage.find(canonical(place))
    if listed is None:
        raise ManifestError(f"{place} is not there: it has to be one file")
    if listed.size > MAX_BYTES:
        raise ManifestError(f"{place} has {listed.size} bytes, the limit is {MAX_BYTES}")
    with storage.read(listed.uri, listed.version_token, listed.size) as fetched:
        return fetched.path.read_text(encoding="utf-8-sig", errors="surrogateescape")


def resolve(manifest: str, path: str) -> str:
    """A row's uri: a place of its own, or relative to the manifest's folder, which it may not leave."""
    if "://" in path or path.startswith("/"):
        return canonical(path)
    folder = manifest.rpartition("/")[0]
    if manifest.startswith("s3://"):
        return canonical(f"{folder}/{posixpath.normpath(path)}")
    return canonical(str(file_path(folder) / path))


def _rows(text: str, kind: type[AnyRow], *, is_csv: bool) -> Iterator[AnyRow]:
    wrong: list[str] = []
    for number, values in _raw_rows(text, is_csv=is_csv):
        try:
            yield kind.model_validate(values)
        except ValidationError as error:
            wrong.append(f"line {number}: {_first(error)}")
    if wrong:
        more = f" and {len(wrong) - NAMED} more" if len(wrong) > NAMED else ""
        columns = " and ".join(kind.model_fields)
        raise ManifestError(f"{'; '.join(wrong[:NAMED])}{more}; a row is {columns}")


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the row"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}"


def _raw_rows(text: str, *, is_csv: bool) -> Iterator[tuple[int, object]]:
    if is_csv:
        table = csv.DictReader(io.StringIO(text))
        try:
            yield from enumerate(table, start=2)
        except csv.Error as error:
            raise ManifestError(f"line {table.reader.line_num} is no row of a table: {error}") from error
        return
    for number, line in enumerate(text.split("\n"), start=1):  # JSON strings may hold other ends of lines
        if line.strip():
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError) as error:  # also too long a number, or too deep a list
                raise ManifestError(f"line {number} is not JSON: {getattr(error, 'msg', error)}") from error
