"""Decisions on pages: by forms alone, counted once, by who has the password, and nothing else is written."""

import json
import re
from pathlib import Path

import pytest
from sqlalchemy import text

from db.engine import session_scope
from db.reviews.queue import QueuedClip, open_queue
from flows.pipeline.labeling.request import LabelRequest
from flows.pipeline.libraries.library import import_manifest
from flows.pipeline.nights.jobs import run_night, with_bar
from flows.pipeline.reviews.choosing import queue_library
from flows.pipeline.runs.partition import partition_of
from flows.pipeline.runtime.resources import Runtime
from tests.flows.server.explorer.conftest import DAYS, Explored
from tests.flows.server.explorer.test_pages import ATTRIBUTES_THAT_RUN, Read, read

HOSTILE_LABELS = ('"><script>alert(1)</script>', "<img src=x onerror=alert(1)>")


@pytest.fixture(scope="module")
def runtime(explored: Explored) -> Runtime:
    return Runtime(explored.settings)


@pytest.fixture
def queue(explored: Explored, runtime: Runtime) -> list[QueuedClip]:
    """Ten clips that wait."""
    return queue_library(runtime, "sounds", 10)


def decide(explored: Explored, clip: QueuedClip, expected: int = 303, **fields: str) -> str:
    """Send the form of a page with these fields, and return where it leads."""
    page = read(explored, f"/reviews/{clip.review}")
    (token,) = [of["value"] for tag, of in page.tags if tag == "input" and of.get("name") == "decision"]
    form = {"decision": token or "", "reviewer": "anna", **fields}
    answer = explored.client.post(f"/reviews/{clip.review}", data=form, follow_redirects=False)
    assert answer.status_code == expected, answer.text
    return answer.headers.get("location", "")


def decisions(explored: Explored) -> list[tuple[object, ...]]:
    columns = "review, verdict, label, note, reviewer, source, shown, written_by"
    question = text(f"SELECT {columns} FROM analytics.review_decisions ORDER BY decision")
    with session_scope(explored.engine) as session:
        return [tuple(row) for row in session.execute(question)]


def test_a_review_shows_the_clip_the_labels_on_keys_and_why(
    explored: Explored, queue: list[QueuedClip]
) -> None:
    clip = next(clip for clip in queue if clip.drawn == "chosen")
    page = read(explored, f"/reviews/{clip.review}")
    keys = [of.get("data-key") for tag, of in page.tags if tag == "button" and of.get("data-key")]
    assert keys == ["1", "2", "n", "s"]
    assert "leads the next label by" in page.text
    assert [of for tag, of in page.tags if tag == "audio"]
    assert len([of for tag, of in page.tags if tag == "td" and "data-demonstration" in of]) == 4
    assert "answered, margin" in page.text
    random = next(clip for clip in queue if clip.drawn == "random")
    assert "answered, margin" not in read(explored, f"/reviews/{random.review}").text


def test_a_decision_leads_to_the_next_clip_and_is_kept_with_what_was_shown(
    explored: Explored, queue: list[QueuedClip]
) -> None:
    first, second, third, *_ = queue
    assert decide(explored, first, label="tone", note=" a\nnote ") == f"/reviews/{second.review}"
    assert decide(explored, second, none="1") == f"/reviews/{third.review}"
    *_, one, two = decisions(explored)
    assert one[:6] == (first.review, "label", "tone", "a note", "anna", "page")
    assert one[7] == "wordwave_analyst"
    shown = one[6] if isinstance(one[6], dict) else json.loads(str(one[6]))
    assert shown["keys"] == {"1": "hiss", "2": "tone"}
    assert two[:3] == (second.review, "none", None)


def test_a_page_that_is_closed_half_way_goes_on_where_it_was(
    explored: Explored, queue: list[QueuedClip]
) -> None:
    decide(explored, queue[0], skip="1")
    links = read(explored, "/reviews").links
    assert f"/reviews/{queue[1].review}" in links
    assert f"{len(queue) - 1} clips" in read(explored, "/reviews").text


def test_the_same_form_twice_counts_once(explored: Explored, queue: list[QueuedClip]) -> None:
    before = len(decisions(explored))
    form = {"decision": "ab" * 16, "reviewer": "anna", "label": "tone"}
    for _ in range(2):
        answer = explored.client.post(f"/reviews/{queue[0].review}", data=form, follow_redirects=False)
        assert answer.status_code == 303
    assert len(decisions(explored)) == before + 1


def test_two_people_decide_about_one_clip_and_both_are_kept(
    explored: Explored, queue: list[QueuedClip]
) -> None:
    decide(explored, queue[0], label="tone", reviewer="anna")
    decide(explored, queue[0], label="hiss", reviewer="ben")
    *_, one, two = decisions(explored)
    assert (one[4], two[4]) == ("anna", "ben")
    assert "Somebody decided about it" in read(explored, f"/reviews/{queue[0].review}").text


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"label": "cow"}, 400),
        ({}, 400),
        ({"label": "tone", "decision": "short"}, 400),
        ({"label": "tone", "note": "x" * 1001}, 400),
        ({"label": "tone", "reviewer": "x" * 101}, 400),
        ({"label": "tone", "note": "x" * 20_000}, 413),
    ],
)
def test_forms_that_are_not_of_the_page_write_nothing(
    explored: Explored, queue: list[QueuedClip], fields: dict[str, str], status: int
) -> None:
    before = decisions(explored)
    decide(explored, queue[0], status, **fields)
    assert decisions(explored) == before


def test_a_decision_needs_a_name_once(explored: Explored, queue: list[QueuedClip]) -> None:
    explored.client.cookies.clear()
    decide(explored, queue[0], 400, label="tone", reviewer="")
    decide(explored, queue[0], label="tone", reviewer="Zoë <b>")
    decide(explored, queue[1], label="tone", reviewer="")
    assert [row[4] for row in decisions(explored)[-2:]] == ["Zoë <b>"] * 2
    assert 'value="Zoë &lt;b&gt;"' in explored.client.get(f"/reviews/{queue[2].review}").text
    explored.client.cookies.clear()


def test_strangers_and_pages_of_others_decide_nothing(explored: Explored, queue: list[QueuedClip]) -> None:
    before, path = decisions(explored), f"/reviews/{queue[0].review}"
    form = {"decision": "cd" * 16, "reviewer": "eve", "label": "tone"}
    assert (
        explored.client.post(path, data=form, headers={"Origin": "https://evil.example"}).status_code == 403
    )
    assert explored.client.post(path, data=form, auth=("wordwave", "guess")).status_code == 401
    assert explored.client.post(path, json=form).status_code == 415
    for method in ("PUT", "PATCH", "DELETE"):
        assert explored.client.request(method, path).status_code == 405
    assert decisions(explored) == before


def test_a_number_that_is_no_review_is_not_found(explored: Explored) -> None:
    read(explored, "/reviews/999999999", 404)
    read(explored, f"/reviews/{10**30}", 404)


def test_a_clip_that_vanished_meanwhile_can_only_be_skipped(
    explored: Explored, queue: list[QueuedClip], runtime: Runtime
) -> None:
    gone = queue[0]
    with session_scope(runtime.engine) as session:
        mark = "UPDATE clips SET missing_since = {} WHERE content_sha256 = :content"
        session.execute(text(mark.format("now()")), {"content": gone.content_sha256})
    page = read(explored, f"/reviews/{gone.review}")
    assert "The clip is gone" in page.text
    assert [of for tag, of in page.tags if tag == "fieldset"] == [{"disabled": None}]
    with session_scope(runtime.engine) as session:
        session.execute(text(mark.format("NULL")), {"content": gone.content_sha256})


def test_hostile_labels_are_text(explored: Explored, runtime: Runtime, tmp_path: Path) -> None:
    library = explored.folder.parent / "library"
    rows = [
        {"path": f"{kind}-{number}.wav", "label": label}
        for kind, label in zip(("tone", "hiss"), HOSTILE_LABELS, strict=True)
        for number in range(2)
    ]
    (library / "hostile.jsonl").write_text("\n".join(map(json.dumps, rows)))
    import_manifest(runtime, "hostile", str(library / "hostile.jsonl"), "label")
    place = partition_of(f"{explored.folder}/{DAYS[0]}")
    run_night(runtime, place, LabelRequest("hostile"), with_bar, kind="label", export=False, reviews=10)
    with session_scope(runtime.engine) as session:
        clip = open_queue(session, "hostile")[0]
    answer = explored.client.get(f"/reviews/{clip.review}")
    page = Read(answer.text)
    for label in HOSTILE_LABELS:
        assert label in page.text
    assert [of["src"] for tag, of in page.tags if tag == "script"] == [
        "/static/listen.js",
        "/static/review.js",
    ]
    for tag, of in page.tags:
        assert not [name for name in of if ATTRIBUTES_THAT_RUN.match(name)], tag
    assert decide(explored, clip, label=HOSTILE_LABELS[0]).startswith("/reviews/")
    assert not re.search("<script>alert|<img src=x", answer.text)
