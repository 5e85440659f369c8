"""Nights that nobody should take for done, as the list of runs shows them and their pages explain them.

WORDWAVE_SCREENSHOTS names a folder for what was seen: the pictures of docs/operations.md.
"""

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.browsing import open_deployment, open_form, open_run, sign_in, submit_form
from tests.e2e.conftest import Shoot
from tests.e2e.service import Service, import_library, serving
from tests.e2e.world import tone
from tests.fixtures_postgres import migrated_database
from tests.fixtures_s3 import S3Bucket

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page
    from types_boto3_s3.client import S3Client

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

PATIENCE = 600
LOST = "lost-recordings"
NIGHTS = {
    "s3://recordings/good": ("Completed", "4 labeled, 0 set aside"),
    "s3://recordings/monotone": ("Doubtful", "19 of 20 answers are low (95%, at most 90%)"),
    "s3://recordings/damaged": ("Doubtful", "4 of 12 clips are quarantined (33.33%, at most 20%)"),
    "s3://recordings/mistyped": ("Empty", "no clips: none are listed in s3://recordings/mistyped"),
    f"s3://{LOST}": ("Failed", "there is no such bucket"),
}
"""How the night of each place ends, and why."""


@pytest.fixture(scope="module")
def recordings(s3_endpoint: str, s3_client: "S3Client", credentials: dict[str, str]) -> S3Bucket:
    """Clips that answer well, clips that nearly all answer the same, clips of which a third is cut short."""
    for name in ("recordings", LOST):
        s3_client.create_bucket(Bucket=name)
    bucket = S3Bucket(s3_endpoint, "recordings", s3_client)
    for number, pitch in enumerate((210, 230, 3000, 3200)):
        bucket.put(f"good/{number}.wav", tone(pitch))
    for number in range(20):
        bucket.put(f"monotone/{number:02}.wav", tone(200 + number if number else 3000))
    for number in range(12):
        clip = tone(200 + 270 * number)
        bucket.put(f"damaged/{number:02}.wav", clip[:-400] if number % 3 == 0 else clip)
    for label, pitch in {"low": 220, "high": 3100}.items():
        bucket.put(f"library/{label}.wav", tone(pitch))
    rows = [json.dumps({"path": f"{label}.wav", "label": label}) for label in ("low", "high")]
    bucket.put("library/manifest.jsonl", "\n".join(rows).encode())
    return bucket


@pytest.fixture(scope="module")
def service(
    recordings: S3Bucket,
    postgres: EmbeddedServer,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Service]:
    """A service that may read both buckets, of which one is gone by now."""
    with migrated_database(postgres, migrated_template) as database:
        environment = {
            "WORDWAVE_DATABASE_URL": database.url("writer"),
            "WORDWAVE_S3_ENDPOINT_URL": recordings.endpoint,
            "WORDWAVE_READ_ROOTS": f"{recordings.uri},s3://{LOST}",
            "WORDWAVE_LLM": "none",
        }
        home = tmp_path_factory.mktemp("home")
        import_library(environment, home, f"{recordings.uri}/library/manifest.jsonl")
        with serving(environment, home) as service:
            recordings.client.delete_bucket(Bucket=LOST)
            yield service


def badge_of(page: "Page", name: str, state: str) -> "Locator":
    """The badge with the state in the list of runs, of the run whose name begins so."""
    card = page.get_by_role("listitem").filter(has=page.locator("[data-slot=card]"))
    return card.filter(has=page.locator(f"a[title^='{name}']")).get_by_text(state, exact=True)


def is_green(badge: "Locator") -> bool:
    """Whether green is the strongest part of the color of a badge's text."""
    color = str(badge.evaluate("badge => getComputedStyle(badge).color"))
    red, green, blue = map(int, re.findall(r"\d+", color)[:3])
    return green > max(red, blue)


def test_nights_that_cannot_be_trusted_are_not_green_and_say_why(
    page: "Page", service: Service, shoot: Shoot
) -> None:
    sign_in(page, service)
    open_deployment(page, service, "watch-place")
    open_form(page)
    page.get_by_role("textbox", name="Prefix", exact=True).fill("s3://recordings")
    page.get_by_label("Max quarantined (Optional)").fill("0.2")
    page.get_by_label("Max one label (Optional)").fill("0.9")
    shoot("bounds")
    submit_form(page)
    page.get_by_text("Completed", exact=True).first.wait_for(timeout=1000 * PATIENCE)

    for place in NIGHTS:
        night = service.start("nightly-labeling", prefix=place, library="sounds", day="any")
        service.wait_for(night, patience=PATIENCE)

    page.goto(service.address)
    page.get_by_role("link", name="Runs", exact=True).click()
    for place, (state, _) in NIGHTS.items():
        badge = badge_of(page, f"nightly {place} by", state)
        badge.scroll_into_view_if_needed()
        assert is_green(badge) == (state == "Completed"), place
    shoot("runs")
    for place, (_, reason) in NIGHTS.items():
        open_run(page, service, f"nightly {place} by")
        page.get_by_text(reason).first.wait_for()
    shoot("lost")
