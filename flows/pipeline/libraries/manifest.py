"""Manifests of clips: JSONL or CSV files on either kind of storage, with a clip and its answer per row."""

import codecs
import logging
import posixpath
import reprlib
import unicodedata
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from core.errors import PromptError
from core.prompts.generation import check_text
from core.prompts.limits import MAX_TEXT_CHARACTERS
from db.libraries import LibraryVersion
from flows.pipeline.libraries.by_label import MULTI_LABEL, NOT, check_label, labels_of
from flows.pipeline.libraries.rows import (
    FileRow,
    ManifestError,
    WrongRow,
    names,
    object_rows,
    table_columns,
    table_rows,
)
from flows.pipeline.runtime.resources import Runtime
from flows.pipeline.storage.uris import canonical, file_path

logger = logging.getLogger(__name__)

MAX_ROWS = 10_000
MAX_BYTES = 16 * 2**20
MAX_LINES_IN_ERROR = 5


def _check_text(text: str) -> str:
    try:
        check_text(text)
    except PromptError as error:
        raise ValueError(str(error)) from error
    return text


def _compose(text: str) -> str:
    """Return the text with letters and accents composed, so that equal-looking texts are equal."""
    return unicodedata.normalize("NFC", text)


def _each_once(labels: list[str]) -> list[str]:
    if repeated := [label for label, count in Counter(labels).items() if count > 1]:
        raise ValueError(f"{names(repeated)} is given more than once: give each label once")
    return labels


Text = Annotated[str, StringConstraints(strip_whitespace=True), AfterValidator(_compose)]


class ClipRow(BaseModel):
    """A clip of a manifest. Extra columns are ignored, and numbers are read as text."""

    model_config = ConfigDict(frozen=True, coerce_numbers_to_str=True)

    path: str = Field(min_length=1)


class LabeledClipRow(ClipRow):
    """A clip and its label."""

    label: Annotated[Text, Field(min_length=1, max_length=MAX_TEXT_CHARACTERS)]


class LabelsClipRow(ClipRow):
    """A clip and all of its labels: none, one or several."""

    labels: Annotated[
        list[
            Annotated[
                Text,
                Field(min_length=1, max_length=MAX_TEXT_CHARACTERS - len(NOT)),
                AfterValidator(check_label),
            ]
        ],
        AfterValidator(_each_once),
    ]


class TextClip(ClipRow):
    """A clip and its spoken text or its caption."""

    text: Annotated[Text, AfterValidator(_check_text)]


class NoisyClip(ClipRow):
    """A noisy clip and the clean `target`."""

    target: str = Field(min_length=1)


AnyRow = TypeVar("AnyRow", bound=ClipRow)


def read_manifest(runtime: Runtime, manifest: str, kind: type[AnyRow]) -> dict[int, AnyRow]:
    """Return the rows of a JSONL or CSV file by line number. Raises ManifestError with the wrong lines."""
    return _rows(read_text(runtime, manifest), manifest, kind)


def read_labels(runtime: Runtime, manifest: str) -> Mapping[int, ClipRow]:
    """Return the rows of a file with `label` in every row, or with `labels`. Raises ManifestError."""
    text = read_text(runtime, manifest)
    if _is_csv(manifest):
        has_labels = "labels" in table_columns(text)
    else:
        has_labels = any(_has(row, "labels") for row in object_rows(text))
    if has_labels:
        return _rows(text, manifest, LabelsClipRow)
    return _rows(text, manifest, LabeledClipRow)


def _has(row: FileRow | WrongRow, column: str) -> bool:
    return isinstance(row, FileRow) and isinstance(row.values, Mapping) and column in row.values


def _is_csv(manifest: str) -> bool:
    return manifest.lower().endswith(".csv")


def _rows(text: str, manifest: str, kind: type[AnyRow]) -> dict[int, AnyRow]:
    rows = _valid_rows(text, kind, is_csv=_is_csv(manifest))
    if not 0 < len(rows) <= MAX_ROWS:
        raise ManifestError(f"{manifest} has {len(rows)} rows, 1 to {MAX_ROWS} are needed")
    return rows


def manifest_rows(version: LibraryVersion) -> Iterator[dict[str, object]]:
    """Yield the rows of a manifest that has the demonstrations of a version, in its order."""
    answer = "label" if version.task == "label" else "text"
    for row in version.demonstrations:
        if version.task == MULTI_LABEL:
            yield {"path": row.uri, "labels": labels_of(row)}
        elif row.target_uri is not None:
            yield {"path": row.uri, "target": row.target_uri}
        else:
            yield {"path": row.uri, answer: row.label_or_text}


def warn_of_labels_alike(labels: Iterable[str]) -> None:
    """Log a warning about labels that differ only in case, which people seldom mean to do."""
    spellings: dict[str, set[str]] = {}
    for label in labels:
        spellings.setdefault(label.casefold(), set()).add(label)
    for alike in spellings.values():
        if len(alike) > 1:
            logger.warning("labels that differ only in case are different labels: %s", names(sorted(alike)))


def read_text(runtime: Runtime, place: str) -> str:
    """Read a small text file; bytes that are not UTF-8 become surrogates. Raises ManifestError."""
    storage = runtime.storage(place)
    listed = storage.find(canonical(place))
    if listed is None:
        raise ManifestError(f"{place} does not exist: name one file")
    if listed.size > MAX_BYTES:
        raise ManifestError(f"{place} has {listed.size} bytes, the limit is {MAX_BYTES}")
    with storage.read(listed.uri, listed.version_token, listed.size) as fetched:
        content = fetched.path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ManifestError(f"{place} is UTF-16: save it as UTF-8")
    return content.decode("utf-8-sig", errors="surrogateescape")


def resolve(manifest: str, path: str) -> str:
    """Return a row's uri: a place, or a path relative to the manifest's folder."""
    if "://" in path or path.startswith("/"):
        return canonical(path)
    folder = manifest.rpartition("/")[0]
    if manifest.startswith("s3://"):
        return canonical(f"{folder}/{posixpath.normpath(path)}")
    return canonical(str(file_path(folder) / path))


def _valid_rows(text: str, kind: type[AnyRow], *, is_csv: bool) -> dict[int, AnyRow]:
    fields = kind.model_fields
    required = [name for name, field in fields.items() if field.is_required()]
    valid: dict[int, AnyRow] = {}
    wrong: list[str] = []
    for row in _table_rows(text, required) if is_csv else object_rows(text):
        try:
            valid[row.number] = _valid(row, kind)
        except ManifestError as error:
            wrong.append(str(error))
    if wrong:
        hidden = len(wrong) - MAX_LINES_IN_ERROR
        more = f" and {hidden} more" if hidden > 0 else ""
        raise ManifestError(f"{'; '.join(wrong[:MAX_LINES_IN_ERROR])}{more}; a row is {' and '.join(fields)}")
    return valid


def _table_rows(text: str, required: Collection[str]) -> Iterator[FileRow | WrongRow]:
    """Read a table, in which semicolons separate the labels of a clip."""
    for row in table_rows(text, required):
        if "labels" in required and isinstance(row, FileRow) and isinstance(row.values, Mapping):
            labels = row.values["labels"]
            yield FileRow(row.number, {**row.values, "labels": labels.split(";") if labels.strip() else []})
        else:
            yield row


def _valid(row: FileRow | WrongRow, kind: type[AnyRow]) -> AnyRow:
    if isinstance(row, WrongRow):
        raise ManifestError(f"line {row.number} {row.reason}")
    if kind is LabelsClipRow and _has(row, "label"):
        raise ManifestError(f"line {row.number}: label: this manifest has labels: give labels in every row")
    try:
        return kind.model_validate(row.values)
    except ValidationError as error:
        raise ManifestError(f"line {row.number}: {_first(error)}") from error


def _first(error: ValidationError) -> str:
    """Return the column of the first error, the error and the value."""
    first = error.errors(include_url=False)[0]
    field = ".".join(map(str, first["loc"])) or "the row"
    is_missing = first["type"] == "missing"
    found = f"the row has {names(first['input'])}" if is_missing else f"found {reprlib.repr(first['input'])}"
    return f"{field}: {first['msg'].removeprefix('Value error, ')}; {found}"
