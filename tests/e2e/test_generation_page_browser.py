"""The page of a generation run as a browser takes it: all of it can be seen and heard, nothing of it runs.

WORDWAVE_SCREENSHOTS names a folder for what was seen.
"""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from core.audio.resampling import wav_bytes
from core.decoding.audio_stream import Samples
from core.training.data.named_sounds import NAMED_SOUNDS
from core.training.data.sounds import add_noise
from flows.pipeline.generation.page.page import Item, Page, render_page

if TYPE_CHECKING:
    from playwright.sync_api import Locator
    from playwright.sync_api import Page as BrowserPage

pytestmark = pytest.mark.browser

RUN = "document.title='ran'"
HOSTILE = f'<script>{RUN}</script><img src=x onerror="{RUN}">\u202e' + "x" * 10_000
SMUGGLED = (
    f'<script>{RUN}</script><img src="http://127.0.0.1:9/x.png" onerror="{RUN}">'
    '<iframe src="http://127.0.0.1:9/"></iframe><link rel=stylesheet href="http://127.0.0.1:9/x.css">'
)
WORDS = (
    ("siren, shown", ("river", "about", "glass", "often", "lead", "lead")),
    ("siren, answered", ("river", "about", "often", "money", "lead", "lead")),
)
READABLE = 4.5
"""Least contrast of a text to its ground (WCAG 2.2, AA)."""
Open = Callable[[str], "Seen"]


def wav(samples: Samples) -> bytes:
    return wav_bytes(torch.from_numpy(samples), 16_000)


def items(names: list[str], seed: int) -> tuple[Item, ...]:
    """Sounds made by rule, each with noise and without."""
    noise = np.random.default_rng(seed).standard_normal(7680).astype(np.float32)
    clean = [NAMED_SOUNDS[name].render(seed, 0.48) for name in names]
    return tuple(
        Item(f"s3://calls/{name}.wav", wav(one), {"SI-SDR (dB)": 5.0}, wav(add_noise(one, noise, 5.0)))
        for name, one in zip(names, clean, strict=True)
    )


@pytest.fixture(scope="module")
def sample() -> str:
    """Four demonstrations, three answers."""
    names = list(NAMED_SOUNDS)[:4]
    prompt = "Learn a foreign language\n" + "###\nInput: < river about >\nOutput: glass\n" * 40
    notes = ("These answers were made by rule.",)
    return render_page(
        Page("A sample", "denoise", prompt, items(names, 1), items(names[:3], 2), notes, WORDS)
    )


@pytest.fixture(scope="module")
def hostile() -> str:
    """The same text wherever a text may stand."""
    item = Item(HOSTILE, wav(np.full(3840, 0.1, np.float32)), {HOSTILE: HOSTILE})
    words = (HOSTILE, (HOSTILE, "river")), (HOSTILE, ("river", HOSTILE))
    return render_page(Page(HOSTILE, "sound", HOSTILE, (item,), (item,), (HOSTILE,), words))


class Seen:
    """A page in a browser, what it asked the network for and what it complained about."""

    def __init__(self, page: "BrowserPage") -> None:
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))

    @property
    def elsewhere(self) -> list[str]:
        """Requests for anything but the page itself and what it holds."""
        return [url for url in self.requests[1:] if not url.startswith("data:")]

    def shoot(self, name: str) -> None:
        """Keeps what the page shows, where somebody wants to look at it."""
        if folder := os.environ.get("WORDWAVE_SCREENSHOTS"):
            self.page.screenshot(path=Path(folder, f"{name}.png"), full_page=True)


@pytest.fixture
def show(page: "BrowserPage", tmp_path: Path) -> Open:
    """Opens a page from a file, and waits until its sounds are known."""

    def show(html: str) -> Seen:
        seen = Seen(page)
        path = tmp_path / "page.html"
        path.write_text(html, encoding="utf-8")
        page.goto(path.as_uri())
        page.wait_for_function("[...document.querySelectorAll('audio')].every(one => one.readyState > 0)")
        return seen

    return show


def test_every_picture_and_every_sound_can_be_opened(show: Open, sample: str) -> None:
    seen = show(sample)
    widths = seen.page.evaluate("[...document.images].map(one => one.complete && one.naturalWidth)")
    durations = seen.page.evaluate("[...document.querySelectorAll('audio')].map(one => one.duration)")
    assert widths == [64, *[49] * 14]
    assert durations == [0.48] * 14
    assert seen.complaints == []
    assert seen.elsewhere == []


def test_a_sound_plays_to_its_end(show: Open, sample: str) -> None:
    seen = show(sample)
    played = seen.page.evaluate(
        "new Promise(done => { const one = document.querySelector('audio'); one.muted = true;"
        " one.onended = () => done(one.currentTime); one.play(); })"
    )
    assert played == pytest.approx(0.48, abs=0.02)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_can_be_read_by_day_and_by_night(
    show: Open, page: "BrowserPage", sample: str, scheme: str
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of its literals
    seen = show(sample)
    seen.shoot(f"generation-{scheme}")
    ground = luminance(page.locator(".card").first, "background-color")
    assert (ground > 0.5) == (scheme == "light")
    for text in (
        ".card h3",
        "figcaption",
        "figcaption b",
        ".tick",
        "th",
        "td",
        ".column",
        ".s1 span",
        ".s2 span",
    ):
        assert contrast(ground, luminance(page.locator(text).first, "color")) > READABLE, text


@pytest.mark.parametrize("number", range(1, 7))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_each_colour_of_shared_words_can_be_read(
    show: Open, page: "BrowserPage", sample: str, scheme: str, number: int
) -> None:
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    show(sample.replace("shared s1", f"shared s{number}"))
    ground = luminance(page.locator(".card").first, "background-color")
    assert contrast(ground, luminance(page.locator(f".s{number} span").first, "color")) > READABLE


def luminance(element: "Locator", color: str) -> float:
    """Relative luminance of a computed color (WCAG 2.2)."""
    said = element.evaluate(f"one => getComputedStyle(one).getPropertyValue('{color}')")
    parts = [int(part) / 255 for part in re.findall(r"\d+", said)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: float, other: float) -> float:
    return (max(one, other) + 0.05) / (min(one, other) + 0.05)


@pytest.mark.parametrize("width", [320, 360, 1160])
def test_the_page_fits_a_phone_whatever_its_names_are(
    show: Open, page: "BrowserPage", sample: str, hostile: str, width: int
) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    for name, html in (("sample", sample), ("hostile", hostile)):
        seen = show(html)
        seen.shoot(f"generation-{name}-{width}")
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_prompt_unfolds_without_a_script(show: Open, page: "BrowserPage", sample: str) -> None:
    show(sample)
    folded = page.locator("details pre")
    assert not folded.is_visible()
    page.get_by_text("The rest of it").click()
    assert folded.is_visible()
    assert folded.inner_text().rstrip().endswith("Output: glass")


def test_a_hostile_text_is_shown_as_text_and_nothing_runs(
    show: Open, page: "BrowserPage", hostile: str
) -> None:
    seen = show(hostile)
    assert page.locator("h1").inner_text().startswith(f"<script>{RUN}</script><img src=x")
    assert "U+202E" in page.locator("pre").first.inner_text()
    assert page.title() != "ran"
    assert page.locator("script, h1 img, h3 img").count() == 0
    assert seen.complaints == []
    assert seen.elsewhere == []


def test_the_policy_stops_what_would_slip_in_all_the_same(
    show: Open, page: "BrowserPage", sample: str
) -> None:
    seen = show(sample.replace("</main>", f"{SMUGGLED}</main>"))
    assert page.title() == "A sample"
    assert len(seen.complaints) >= 4
    assert all("Content Security Policy" in one for one in seen.complaints)
