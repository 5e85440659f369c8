"""What people read of a run: whatever names and messages say, it stays text."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import cast
from unittest.mock import Mock
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from db.clips import Selection
from db.predictions import Answer
from db.runs import RunClaim
from flows.artifacts.markdown import cell, code, escape
from flows.artifacts.pages import summary
from flows.artifacts.tables import MAX_ROWS, answer_rows
from flows.pipeline.labeling.label import Labeling
from flows.pipeline.labeling.report import ClipAnswer, ClipAnswers
from flows.pipeline.runs.run import OpenRun

EMPHASIS = {"em", "strong", "s", "br"}
"""What a name may do to itself in the older UI, which reads cells as markdown."""
MARKUP = st.text(st.sampled_from(list("<>&|`*_[]()!#\\~\"'\n\r -1.:/xhtp")), max_size=40)


class Page(HTMLParser):
    """The tags of a page, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def render(markdown: str) -> Page:
    return Page(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(markdown))


def run() -> OpenRun:
    run = OpenRun(
        RunClaim(UUID(int=1), attempt=1), Mock(), Mock(), manifest="s3://bucket/runs/1/manifest.json"
    )
    run.counts.update({"ingest.new": 3, "tokenize.quarantined:silent": 1})
    return run


@given(MARKUP)
@example("![x](http://elsewhere/beacon.png)")
@example("[x](http://elsewhere)")
@example("x\n\n# y")
@example("<img src=x>")
def test_a_name_on_the_page_of_a_run_leads_nowhere(name: str) -> None:
    plain, page = render(summary("place", run())), render(summary(f"place{name}", run()))
    assert [tag for tag in page.tags if tag not in EMPHASIS] == plain.tags


@given(MARKUP)
@example("![x](http://elsewhere/beacon.png)")
def test_a_name_in_a_cell_of_a_table_leads_nowhere(name: str) -> None:
    page = render(f"| clip |\n| --- |\n| x{escape(name)}x |\n")
    cell = ["table", "thead", "tr", "th", "tbody", "tr", "td"]
    assert [tag for tag in page.tags if tag not in EMPHASIS] == cell


@given(MARKUP)
@example("![x](http://elsewhere/beacon.png)")
@example("<img src=x>")
def test_a_cell_that_the_older_ui_reads_as_markdown_leads_nowhere(name: str) -> None:
    page = render(f"x{cell(name)}x")
    assert {tag for tag in page.tags if tag not in EMPHASIS} <= {"p", "code"}


@given(MARKUP)
def test_no_entity_is_shown_where_text_is_shown_as_it_is(name: str) -> None:
    spaced = name.replace("\n", " ").replace("\r", " ")
    assert cell(name).replace("\u200b", "") == spaced
    assert render(f"x `` {code(name)} `` x").text.split() == f"x {spaced.replace('`', chr(39))} x".split()


@pytest.mark.parametrize("name", ["s3://bucket/2026-11-22", "file:///clips/a%20b.wav"])
def test_an_ordinary_name_reads_as_it_is(name: str) -> None:
    assert render(escape(name)).text.strip() == name


def clip_with(number: int, margin: float | None) -> ClipAnswer:
    """A clip that was answered with this margin, or is quarantined."""
    uri = f"file:///{number}.wav"
    if margin is None:
        return ClipAnswer(uri, "quarantined", reason="silent")
    said = {"nearest": "dog", "majority": "dog", "chance": 0.5}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    answer = Answer(
        uri, b"", b"", "label", "few-shot", "dog", {"dog": 1.0}, margin, 0.0, said, False, UUID(int=0), now
    )
    return ClipAnswer(uri, "labeled", answer)


class Known(ClipAnswers):
    """Answers that are known without a database, chosen as those in one are."""

    def __init__(self, margins: Sequence[float | None]) -> None:
        clips = [clip_with(number, margin) for number, margin in enumerate(margins)]
        self._clips = {clip.uri: clip for clip in clips}
        self._uris, self._selection = list(self._clips), ""
        self._labelings = (cast(Labeling, self),)

    def margins(self, _selection: Selection) -> dict[str, float]:
        return {uri: clip.answer.margin for uri, clip in self._clips.items() if clip.answer}

    def _read(self, uris: Sequence[str]) -> Iterator[ClipAnswer]:
        return map(self._clips.__getitem__, uris)


@given(st.lists(st.none() | st.floats(0, 1), max_size=MAX_ROWS * 2))
def test_a_table_has_what_cannot_be_used_and_then_the_least_sure_answers(margins: list[float | None]) -> None:
    rows = answer_rows(Known(margins))
    doubtful = sorted(margins, key=lambda margin: -1.0 if margin is None else margin)
    shown = ["" if margin is None else f"{margin:.3f}" for margin in doubtful[:MAX_ROWS]]
    assert [row["margin"] for row in rows] == shown


def test_a_row_says_the_answer_or_why_there_is_none() -> None:
    quarantined, answered = answer_rows(Known([0.25, None]))
    assert (answered["label"], answered["margin"], answered["status"]) == ("dog", "0.250", "labeled")
    assert (quarantined["label"], quarantined["status"]) == ("", "quarantined: silent")
