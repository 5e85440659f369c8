"""Champion and challenger in Chromium: examples play, links lead to clips, and a phone has room for it.

WORDWAVE_SCREENSHOTS names a folder for what was seen.
"""

import pytest

from tests.e2e.test_explorer_browser import PHONE, SERIOUS, Seen, address, seen
from tests.flows.server.explorer.comparing import keep_contest
from tests.flows.server.explorer.conftest import Explored, explored

__all__ = ["address", "explored", "seen"]

pytestmark = pytest.mark.browser


def test_what_moves_is_heard_and_leads_to_the_clip(seen: Seen, explored: Explored) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = seen.open(keep_contest(explored))
    seen.shoot("comparison")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == []
    with page.expect_response("**/sound") as heard:
        page.locator("a.play").first.click()
    assert heard.value.ok
    page.wait_for_selector(".play.on")
    page.set_viewport_size({"width": PHONE, "height": 780})
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE
    seen.shoot("comparison-phone")
    page.set_viewport_size({"width": 1180, "height": 820})
    page.get_by_role("link", name="tone-0.wav", exact=True).click()
    page.wait_for_url("**/clips/*")
    assert seen.complaints == []
