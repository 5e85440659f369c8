"""Queues as CSV for people who decide elsewhere, and their decisions back."""

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from db.engine import session_scope
from db.libraries import get_library
from db.reviews.decisions import (
    MAX_NOTE_LENGTH,
    MAX_REVIEWER_LENGTH,
    NewDecision,
    OwnDecision,
    Verdict,
    add_decisions,
    own_decisions,
    queued_reviews,
)
from db.reviews.queue import QueuedClip
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.runtime.resources import Runtime

COLUMNS = (
    *("review", "library", "uri", "answer", "margin", "why"),
    *("decided_label", "verdict", "note", "reviewer"),
)
"""People fill in the last four: a label, or the verdict `none` or `skip`."""
FORMULA_BEGINS = ("=", "+", "-", "@", "\t", "\r")
VERDICTS: Mapping[str, Verdict] = {"": "label", "label": "label", "none": "none", "skip": "skip"}
MAX_ROWS, MAX_LINES_IN_ERROR = 10_000, 5


@dataclass(frozen=True)
class CsvDecision:
    """A row of a file on which somebody decided."""

    line: int
    review: int
    own: OwnDecision
    reviewer: str


def csv_lines(queue: Iterable[QueuedClip]) -> Iterator[str]:
    """Yield the lines of a file to decide in. Random clips come without their answer."""
    yield _line(COLUMNS)
    for clip in queue:
        is_random = clip.drawn == "random"
        answer, margin = ("", "") if is_random else (as_text(clip.label), f"{clip.margin:.3f}")
        why = as_text(clip.reason)
        yield _line((str(clip.review), clip.library, clip.uri, answer, margin, why, "", "", "", ""))


def as_text(value: str) -> str:
    """Return a value with ' before it if a spreadsheet would take it for a formula."""
    return f"'{value}" if value.startswith(FORMULA_BEGINS) else value


def from_text(value: str) -> str:
    """Return what `as_text` was given; people copy answers with their mark."""
    plain = value.removeprefix("'")
    return plain if as_text(plain) == value else value


def import_decisions(runtime: Runtime, name: str, text: str, reviewer: str = "") -> int:
    """Store the decisions of a file, and return how many were new.

    A decision that is the reviewer's latest about the clip from a file is not stored again, even if a page
    has said something else since. Raises ManifestError with the wrong lines.
    """
    rows = _read(text, reviewer)
    with session_scope(runtime.engine) as session:
        queued = queued_reviews(session, {row.review for row in rows})
        labels = {
            version: {one.label for one in get_library(session, *version).demonstrations}
            for version in set(queued.values())
        }
        _check(rows, queued, labels)
        return add_decisions(session, "csv", _new(rows, own_decisions(session, "csv", queued.keys()), name))


def _new(
    rows: Sequence[CsvDecision], before: Mapping[tuple[int, str], Sequence[OwnDecision]], name: str
) -> Iterator[NewDecision]:
    for row in rows:
        earlier = before.get((row.review, row.reviewer), ())
        if earlier and earlier[-1] == row.own:
            continue
        yield NewDecision(
            review_id=row.review,
            verdict=row.own.verdict,
            label=row.own.label,
            note=row.own.note,
            reviewer=row.reviewer,
            came_from=name[-1_000:],
            shown={"columns": list(COLUMNS[:6])},
            external_id=f"{row.review} {len(earlier) + 1} {row.reviewer}",
        )


def _read(text: str, reviewer: str) -> list[CsvDecision]:
    reader = csv.DictReader(io.StringIO(text), strict=True)
    missing = {"review", "decided_label", "verdict"} - set(reader.fieldnames or ())
    if missing:
        raise ManifestError(f"the file lacks the columns {', '.join(sorted(missing))}: keep its first line")
    rows, wrong = list[CsvDecision](), list[str]()
    try:
        for row in reader:
            try:
                rows += _decided(reader.line_num, row, reviewer)
            except ManifestError as error:
                wrong.append(str(error))
    except csv.Error as error:
        wrong.append(f"line {reader.line_num}: {error}")
    if len(rows) > MAX_ROWS:
        wrong.append(f"the file has {len(rows)} decisions, the limit is {MAX_ROWS}: import it in parts")
    _raise([*wrong, *_twice(rows)])
    return rows


def _twice(rows: Sequence[CsvDecision]) -> Iterator[str]:
    """Yield the lines that decide again about a clip, by the same reviewer."""
    first: dict[tuple[int, str], int] = {}
    for row in rows:
        before = first.setdefault((row.review, row.reviewer), row.line)
        if before != row.line:
            yield (
                f"line {row.line}: {row.reviewer} decides about review {row.review} on line {before} "
                "already: keep one of them"
            )


def _decided(line: int, row: Mapping[str, str | None], reviewer: str) -> list[CsvDecision]:
    """Return the decision of a row, none if nobody decided."""
    given = {name: (row.get(name) or "").strip() for name in COLUMNS}
    label, verdict = from_text(given["decided_label"]), VERDICTS.get(given["verdict"].lower())
    if not label and not given["verdict"]:
        return []
    if verdict is None or (verdict == "label") != bool(label):
        raise ManifestError(f"line {line} needs a decided_label, or the verdict none or skip, and not both")
    who = given["reviewer"] or reviewer
    if not who or len(who) > MAX_REVIEWER_LENGTH or len(given["note"]) > MAX_NOTE_LENGTH:
        raise ManifestError(
            f"line {line} needs a reviewer of up to {MAX_REVIEWER_LENGTH} characters (or --reviewer), and a "
            f"note of up to {MAX_NOTE_LENGTH}"
        )
    if not given["review"].isdecimal() or len(given["review"]) > 18:
        raise ManifestError(f"line {line} has no number of a review: keep the first column")
    own = OwnDecision(verdict, label or None, given["note"] or None)
    return [CsvDecision(line, int(given["review"]), own, who)]


def _check(
    rows: Sequence[CsvDecision],
    queued: Mapping[int, tuple[str, int]],
    labels: Mapping[tuple[str, int], set[str | None]],
) -> None:
    """Raise ManifestError for clips that are not queued, and labels that their library does not have."""
    wrong = [
        f"line {row.line}: no clip is queued as {row.review}" for row in rows if row.review not in queued
    ]
    wrong += [
        f"line {row.line}: {row.own.label!r} is no label of {'@'.join(map(str, queued[row.review]))}"
        for row in rows
        if row.review in queued and row.own.label and row.own.label not in labels[queued[row.review]]
    ]
    _raise(wrong)


def _raise(wrong: Sequence[str]) -> None:
    if wrong:
        more = f" and {len(wrong) - MAX_LINES_IN_ERROR} more" if len(wrong) > MAX_LINES_IN_ERROR else ""
        raise ManifestError("; ".join(wrong[:MAX_LINES_IN_ERROR]) + more)


def _line(values: Sequence[str]) -> str:
    out = io.StringIO()
    # values that hold a line end are quoted only by writers that end lines with it
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue().removesuffix("\r\n")
