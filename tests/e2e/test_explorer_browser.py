"""The pages to look and listen as people use them: by eye, ear, keyboard and screen reader, by day and night.

WORDWAVE_SCREENSHOTS names a folder for what was seen: the pictures of docs/explore.md.
"""

import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn

from db.engine import make_engine
from flows.flow_runs.own_server import own_origins
from flows.server.explorer.app import explorer_app
from flows.server.explorer.audio.sounds import Sounds
from tests.e2e.conftest import CHROMIUM
from tests.e2e.service import free_port
from tests.flows.server.explorer.conftest import DAYS, EMPTY_DAY, HOSTILE, PASSWORD, Explored, explored

if TYPE_CHECKING:
    from playwright.sync_api import Page

__all__ = ["explored"]

pytestmark = pytest.mark.browser
SERIOUS = {"serious", "critical"}
PHONE = 360


@dataclass
class Seen:
    """A browser that has the password, what it asked for, and what it complained about."""

    page: "Page"
    address: str
    complaints: list[str] = field(default_factory=list)

    def open(self, path: str) -> "Page":
        self.page.goto(self.address + path)
        self.page.wait_for_function(
            "() => [...document.images].every(one => one.complete || one.loading === 'lazy')", timeout=60_000
        )
        return self.page

    def shoot(self, name: str) -> None:
        if folder := os.environ.get("WORDWAVE_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


@pytest.fixture(scope="module")
def address(explored: Explored) -> Iterator[str]:
    """A real server of the pages."""
    port = free_port()
    engine, sounds = make_engine(explored.database.url("analyst")), Sounds(explored.settings)
    app = explorer_app(explored.settings, engine, sounds, PASSWORD, list(own_origins(port)))
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_level="warning", ws="none"))
    thread = threading.Thread(target=server.run)
    thread.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()
    sounds.close()
    engine.dispose()


@pytest.fixture(scope="module", params=["light", "dark"])
def seen(request: pytest.FixtureRequest, address: str) -> Iterator[Seen]:
    from playwright.sync_api import sync_playwright

    user, _, password = PASSWORD.partition(":")
    with sync_playwright() as playwright:
        options = ["--no-sandbox", "--autoplay-policy=no-user-gesture-required"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(
            viewport={"width": 1180, "height": 820},
            color_scheme=request.param,
            http_credentials={"username": user, "password": password},
        )
        seen = Seen(page, address)
        page.on("console", lambda message: seen.complaints.append(message.text))
        page.on("pageerror", lambda error: seen.complaints.append(str(error)))
        page.on("dialog", lambda dialog: seen.complaints.append(dialog.message))
        page.on(
            "request",
            lambda asked: None if asked.url.startswith(address) else seen.complaints.append(asked.url),
        )
        yield seen
        browser.close()


def views(explored: Explored) -> dict[str, str]:
    place = f"place={explored.place}&library=sounds"
    return {
        "overview": "/",
        "nights": f"/nights?prefix={explored.folder}/{{day}}&library=sounds",
        "night": explored.night,
        "empty": f"/nights/{explored.nights[EMPTY_DAY].run.id}",
        "aside": f"{explored.night}?show=aside",
        "place": f"/clips?{place}",
        "map": f"{explored.night}/map",
        "clip": explored.clip("tone-3.wav"),
        "quarantined": explored.clip("silent.wav"),
        "hostile": explored.clip(HOSTILE[0]),
        "long": explored.clip(HOSTILE[-1]),
        "similar": f"{explored.clip('tone-3.wav')}/similar",
        "search": "/search?words=zzzyx",
    }


def test_every_view_is_quiet_fits_a_phone_and_has_no_serious_finding(seen: Seen, explored: Explored) -> None:
    from axe_playwright_python.sync_playwright import Axe

    for name, path in views(explored).items():
        page = seen.open(path)
        found = Axe().run(page).response["violations"]
        assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in SERIOUS] == [], name
        seen.shoot(f"explore-{name}")
        page.set_viewport_size({"width": PHONE, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE, name
        page.set_viewport_size({"width": 1180, "height": 820})
    assert seen.complaints == []


def test_a_clip_plays_and_its_words_follow(seen: Seen, explored: Explored) -> None:
    page = seen.open(explored.clip("tone-3.wav"))
    page.evaluate("document.querySelector('audio').muted = true")
    words = page.locator("[data-words] button")
    words.nth(3).hover()
    assert "0.36 s" in page.locator("[data-detail]").inner_text()
    words.nth(3).click()
    page.wait_for_function("() => document.querySelector('audio').currentTime > 0.36")
    page.wait_for_function("() => document.querySelector('audio').ended")
    assert page.locator("[data-playhead]").is_visible()


def test_words_are_walked_with_the_keyboard(seen: Seen, explored: Explored) -> None:
    page = seen.open(explored.clip("tone-3.wav"))
    page.locator("[data-words] button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    assert page.evaluate("document.activeElement.dataset.start") == "0.24"
    assert "from 0.24 s" in page.locator("[data-detail]").inner_text()
    page.keyboard.press("Home")
    assert page.evaluate("document.activeElement.dataset.start") == "0.0"
    page.keyboard.press("Enter")
    page.wait_for_function("() => !document.querySelector('audio').paused")


def test_the_words_stand_under_their_sound(seen: Seen, explored: Explored) -> None:
    page = seen.open(explored.clip("tone-3.wav"))
    picture = page.locator("[data-picture]").bounding_box()
    last = page.locator("[data-words] button").last.bounding_box()
    assert picture
    assert last
    assert last["x"] < picture["x"] + picture["width"] <= last["x"] + 2.1 * last["width"]


def test_a_clip_of_a_list_plays_in_place(seen: Seen, explored: Explored) -> None:
    page = seen.open(explored.night)
    link = page.locator("[data-play]").first
    link.click()
    page.wait_for_function("() => document.querySelector('[data-play].on') !== null")
    link.click()
    assert page.locator("[data-play].on").count() == 0
    assert page.url.endswith(explored.night)


def test_a_sound_that_cannot_be_played_says_why(seen: Seen, explored: Explored) -> None:
    page = seen.open(explored.clip("cut.wav"))
    page.get_by_role("alert").get_by_text("truncated").wait_for()
    path = explored.folder / DAYS[0] / "hiss-0.wav"
    before = path.read_bytes()
    try:
        path.write_bytes(before + b"\0\0")
        page = seen.open(explored.clip("hiss-0.wav", DAYS[0]))
        page.get_by_role("alert").get_by_text("have changed").wait_for()
    finally:
        path.write_bytes(before)
    seen.complaints.clear()  # a browser reports what failed to load
