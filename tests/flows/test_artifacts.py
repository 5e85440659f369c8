"""What people read of a run: whatever names and messages say, it stays text."""

from datetime import UTC, datetime
from html.parser import HTMLParser
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from db.predictions import Answer
from flows.artifacts import answer_rows, escape, summary
from flows.stages.report import ClipAnswer
from flows.stages.run import OpenRun

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
    run = OpenRun(UUID(int=1), manifest="s3://bucket/runs/1/manifest.json")
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


@pytest.mark.parametrize("name", ["s3://bucket/2026-11-22", "file:///clips/a%20b.wav"])
def test_an_ordinary_name_reads_as_it_is(name: str) -> None:
    assert render(escape(name)).text.strip() == name


def clip_with(margin: float | None) -> ClipAnswer:
    """A clip that was answered with this margin, or is quarantined."""
    uri = f"file:///{margin}.wav"
    if margin is None:
        return ClipAnswer(uri, "quarantined", reason="silent")
    said = {"nearest": "dog", "majority": "dog", "chance": 0.5}
    now = datetime(2026, 1, 1, tzinfo=UTC)
    answer = Answer(
        uri, b"", b"", "label", "few-shot", "dog", {"dog": 1.0}, margin, 0.0, said, False, UUID(int=0), now
    )
    return ClipAnswer(uri, "labeled", answer)


def test_a_row_says_the_answer_or_why_there_is_none() -> None:
    answered, quarantined = answer_rows([clip_with(0.25), clip_with(None)])
    assert (answered["label"], answered["margin"], answered["status"]) == ("dog", "0.250", "labeled")
    assert (quarantined["label"], quarantined["status"]) == ("", "quarantined: silent")
