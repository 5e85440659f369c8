"""Decisions out of and into CSV: the same file twice is the same decisions, and wrong lines are named."""

import csv
import io

import pytest

from flows.pipeline.libraries.rows import ManifestError
from flows.pipeline.nights.jobs import Night
from flows.pipeline.reviews.csv_file import csv_lines, import_decisions
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
