"""Decisions out of and into CSV: the same file twice is the same decisions, and wrong lines are named."""

import csv
import io

import pytest

from db.engine import session_scope
from db.reviews.decisions import NewDecision, add_decisions
from db.reviews.queue import QueuedClip
from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.nights.jobs import Night
from flows.pipeline.reviews.exchange.csv_file import as_text, csv_lines, from_text, import_decisions
from flows.pipeline.runtime.resources import Runtime
from tests.flows.pipeline.conftest import rows
from tests.flows.pipeline.reviews.conftest import waiting

DECISIONS = "SELECT review, verdict, label, reviewer, note FROM analytics.review_decisions ORDER BY decision"


def filled(runtime: Runtime, *given: dict[str, str]) -> str:
    """The file of the queue with what somebody filled in, row by row."""
    lines = list(csv.DictReader(csv_lines(waiting(runtime))))
    for line, more in zip(lines, given, strict=False):
        line |= more
    out = io.StringIO()
    writer = csv.DictWriter(out, lines[0].keys())
    writer.writeheader()
    writer.writerows(lines)
    return out.getvalue()


def test_the_file_has_each_clip_and_no_answer_for_random_ones(runtime: Runtime, night: Night) -> None:
    lines = list(csv.DictReader(csv_lines(waiting(runtime))))
    assert [int(line["review"]) for line in lines] == [clip.review for clip in waiting(runtime)]
    assert [line["answer"] == "" for line in lines] == [clip.drawn == "random" for clip in waiting(runtime)]


def test_a_file_imported_twice_counts_once_and_a_change_of_mind_counts(
    runtime: Runtime, night: Night
) -> None:
    first = {"decided_label": "tone", "reviewer": "anna", "note": 'a "pure" tone, long'}
    text = filled(runtime, first, {"verdict": "none"}, {"verdict": "skip"})
    assert import_decisions(runtime, "q.csv", text, "ben") == 3
    assert import_decisions(runtime, "q.csv", text, "ben") == 0
    changed = text.replace(",tone,", ",hiss,", 1)
    assert import_decisions(runtime, "q.csv", changed, "ben") == 1
    assert import_decisions(runtime, "q.csv", text, "ben") == 1
    found = rows(runtime.engine, DECISIONS)
    assert [row[1:4] for row in found] == [
        ("label", "tone", "anna"),
        ("none", None, "ben"),
        ("skip", None, "ben"),
        ("label", "hiss", "anna"),
        ("label", "tone", "anna"),
    ]
    assert found[0][4] == 'a "pure" tone, long'


def test_the_same_file_adds_nothing_after_a_later_decision_on_the_page(
    runtime: Runtime, night: Night
) -> None:
    text = filled(runtime, {"decided_label": "tone", "reviewer": "anna"})
    clip = waiting(runtime)[0]
    assert import_decisions(runtime, "q.csv", text) == 1
    with session_scope(runtime.engine) as session:
        later = NewDecision(clip.review, "label", "hiss", None, "anna", "", {}, "a" * 32)
        assert add_decisions(session, "page", [later]) == 1
    assert import_decisions(runtime, "q.csv", text) == 0


def test_two_rows_of_one_reviewer_about_one_clip_are_refused(runtime: Runtime, night: Night) -> None:
    first = str(waiting(runtime)[0].review)
    tone = {"decided_label": "tone", "reviewer": "anna"}
    text = filled(runtime, tone, {**tone, "review": first, "decided_label": "hiss"})
    with pytest.raises(ManifestError, match=f"line 3: anna decides about review {first} on line 2 already"):
        import_decisions(runtime, "q.csv", text)
    assert rows(runtime.engine, DECISIONS) == []


@pytest.mark.parametrize("begin", ["=", "+", "-", "@", "\t", "\r"])
def test_no_answer_or_reason_is_a_formula_in_a_spreadsheet(begin: str) -> None:
    label, reason = f"{begin}1+1", f"{begin}2"
    chosen = QueuedClip(
        review=1,
        library="sounds",
        version=1,
        position=1,
        drawn="chosen",
        reason=reason,
        uri="file:///a.wav",
        content_sha256=b"a",
        label=label,
        margin=0.1,
        status="labeled",
        gain=1.0,
        stands_for=1,
        answer=1,
        is_open=True,
        decisions=0,
    )
    _, line = csv.reader(io.StringIO("\n".join(csv_lines([chosen])), newline=""))
    assert (line[3], line[5]) == (f"'{begin}1+1", f"'{begin}2")
    assert from_text(line[3]) == label


@pytest.mark.parametrize("value", ["tone", "'tone", "", "'", "1-2"])
def test_other_values_stay_as_they_are(value: str) -> None:
    assert as_text(value) == from_text(value) == value


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"decided_label": "cow", "reviewer": "a"}, "line 2: 'cow' is no label of sounds@1"),
        ({"decided_label": "tone"}, "line 2 needs a reviewer"),
        ({"decided_label": "tone", "verdict": "none", "reviewer": "a"}, "line 2 needs a decided_label, or"),
        ({"verdict": "perhaps", "reviewer": "a"}, "line 2 needs a decided_label, or"),
        ({"review": "12345", "decided_label": "tone", "reviewer": "a"}, "no clip is queued as 12345"),
        ({"review": "x", "decided_label": "tone", "reviewer": "a"}, "has no number of a review"),
    ],
)
def test_wrong_lines_are_named_and_nothing_is_stored(
    runtime: Runtime, night: Night, given: dict[str, str], message: str
) -> None:
    text = filled(runtime, given, {"verdict": "skip", "reviewer": "a"})
    with pytest.raises(ManifestError, match=message):
        import_decisions(runtime, "q.csv", text)
    assert rows(runtime.engine, DECISIONS) == []


def test_another_file_is_refused(runtime: Runtime) -> None:
    with pytest.raises(ManifestError, match="lacks the columns decided_label, review, verdict"):
        import_decisions(runtime, "q.csv", "path,label\na.wav,dog\n")
