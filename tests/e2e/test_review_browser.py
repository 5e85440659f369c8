"""Ten decisions in Chromium by the keyboard alone, and what a hostile label does to the page: nothing.

WORDWAVE_SCREENSHOTS names a folder for what was seen.
"""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from db.engine import session_scope
from db.reviews.queue import QueuedClip
from flows.pipeline.reviews.choosing import queue_library
from flows.pipeline.runtime.resources import Runtime
from tests.e2e.test_explorer_browser import PHONE, SERIOUS, Seen, address, seen
from tests.flows.server.explorer.conftest import Explored, explored

__all__ = ["address", "explored", "seen"]

pytestmark = pytest.mark.browser


@pytest.fixture
def queue(explored: Explored) -> Iterator[list[QueuedClip]]:
    runtime = Runtime(explored.settings)
    yield queue_library(runtime, "sounds", 10)
    runtime.close()


def decided(explored: Explored) -> list[tuple[object, ...]]:
    question = text("SELECT verdict, label, reviewer, note FROM analytics.review_decisions ORDER BY decision")
    with session_scope(explored.engine) as session:
        return [tuple(row) for row in session.execute(question)]


def test_a_review_is_quiet_fits_a_phone_and_has_no_serious_finding(
    seen: Seen, queue: list[QueuedClip]
) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for name, path in {"reviews": "/reviews", "review": f"/reviews/{queue[0].review}"}.items():
        page = seen.open(path)
        seen.shoot(name)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == [], name
        page.set_viewport_size({"width": PHONE, "height": 780})
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, name
        page.set_viewport_size({"width": 1180, "height": 820})
    assert seen.complaints == []


def test_a_loop_is_set_and_demonstrations_play_by_keyboard(seen: Seen, queue: list[QueuedClip]) -> None:
    page = seen.open(f"/reviews/{queue[0].review}")
    page.wait_for_function("document.querySelector('audio').readyState > 0")
    page.keyboard.press("Escape")  # the first visit begins in the field of the name
    page.evaluate("document.querySelector('audio').pause()")
    page.evaluate("document.querySelector('audio').currentTime = 0.2")
    page.keyboard.press("[")
    page.evaluate("document.querySelector('audio').currentTime = 0.4")
    page.keyboard.press("]")
    assert page.locator("[data-region]").is_visible()
    seen.shoot("review-loop")
    page.keyboard.press("l")
    assert not page.locator("[data-region]").is_visible()
    page.keyboard.press("Shift+Digit1")
    page.wait_for_selector(".play.on")
    page.keyboard.press("b")
    assert page.url.endswith(f"/reviews/{queue[0].review}")
    assert seen.complaints == []


def test_a_queue_is_decided_by_keyboard_alone(
    seen: Seen, explored: Explored, queue: list[QueuedClip]
) -> None:
    before = len(decided(explored))
    page = seen.open("/reviews")
    page.locator("a.go").first.focus()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/reviews/{queue[0].review}")
    if not page.locator("input[name=reviewer]").input_value():
        page.keyboard.type("anna")
        page.keyboard.press("Enter")
    page.keyboard.press("e")
    page.keyboard.type("1 2 3, heard twice")
    page.keyboard.press("Escape")
    for place, clip in enumerate(queue):
        page.wait_for_url(f"**/reviews/{clip.review}")
        page.locator("[data-decide]").wait_for()
        page.keyboard.press(("1", "2", "n", "s")[place % 4])
    page.wait_for_url("**/reviews?done=sounds")
    rows = decided(explored)[before:]
    assert [row[:2] for row in rows] == [
        (("label", "hiss"), ("label", "tone"), ("none", None), ("skip", None))[place % 4]
        for place in range(len(queue))
    ]
    assert {row[2] for row in rows} == {"anna"}
    assert rows[0][3] == "1 2 3, heard twice"
    assert seen.complaints == []
