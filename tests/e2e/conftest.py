"""A world for each test or module that works through a whole night."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

from db.embedded.server import EmbeddedServer
from tests.e2e.world import World, import_into, night, opened
from tests.fixtures_postgres import migrated_database
from tests.fixtures_s3 import S3Bucket

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from types_boto3_s3.client import S3Client

    from tests.e2e.nights import Outcome  # which needs what is here

CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_CONFIG_FILE": "/dev/null",
    "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
}


@pytest.fixture(scope="session")
def credentials() -> Iterator[dict[str, str]]:
    """What boto3 needs of the environment; the address of the server is in the settings."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN"):
            patch.delenv(name, raising=False)
        for name, value in CREDENTIALS.items():
            patch.setenv(name, value)
        yield CREDENTIALS


NewBucket = Callable[[str], S3Bucket]


@pytest.fixture(scope="session")
def new_bucket(s3_endpoint: str, s3_client: "S3Client", credentials: dict[str, str]) -> NewBucket:
    """Makes an empty bucket."""

    def make(purpose: str) -> S3Bucket:
        bucket = f"{purpose}-{uuid4().hex[:12]}"
        s3_client.create_bucket(Bucket=bucket)
        return S3Bucket(s3_endpoint, bucket, s3_client)

    return make


@pytest.fixture
def world(
    new_bucket: NewBucket, postgres: EmbeddedServer, migrated_template: str, tmp_path: Path
) -> Iterator[World]:
    """Nothing yet, for one test."""
    with migrated_database(postgres, migrated_template) as database:
        yield World(new_bucket("clips"), new_bucket("results"), database, tmp_path)


@pytest.fixture
def shared(world: World) -> World:
    """A world whose night several processes share."""
    from tests.e2e.sharing import put_clips

    put_clips(world)
    return world


@pytest.fixture
def alone(
    shared: World, new_bucket: NewBucket, postgres: EmbeddedServer, migrated_template: str, tmp_path: Path
) -> "Outcome":
    """What the same night leaves when one process does it all."""
    from tests.e2e.sharing import left_by

    with migrated_database(postgres, migrated_template) as database:
        world = replace(shared, results=new_bucket("alone"), database=database, home=tmp_path / "alone")
        with opened(world.settings) as runtime:
            import_into(runtime, f"{world.clips.uri}/library/manifest.jsonl")
            night(runtime, world.place)
        return left_by(world)


@contextmanager
def new_page(*options: str) -> Iterator["Page"]:
    """An empty page of a browser that nobody sees."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", *options])
        page = browser.new_page(viewport={"width": 1160, "height": 760})
        page.set_default_timeout(60_000)
        yield page
        browser.close()


@pytest.fixture
def page() -> Iterator["Page"]:
    with new_page() as page:
        yield page


Shoot = Callable[[str], None]


@pytest.fixture
def shoot(page: "Page") -> Shoot:
    """Keeps what the page shows, where somebody wants to look at it."""
    folder = os.environ.get("WORDWAVE_SCREENSHOTS")

    def keep(name: str) -> None:
        if folder:
            page.wait_for_timeout(5000)  # pictures and charts move in
            page.screenshot(path=Path(folder, f"{name}.png"))

    return keep
