"""Where the real audio and the golden numbers lie, for the tests that need them."""

import os
from collections.abc import Generator
from pathlib import Path

import pytest
from hypothesis import settings

pytest_plugins = ["tests.fixtures_postgres", "tests.fixtures_s3", "tests.fixtures_storage"]

# most tests are about the work around an answer: nearest neighbor on tokens gives one with no model to load
os.environ.setdefault("WORDWAVE_LLM", "none")
os.environ.setdefault("WORDWAVE_DENOISER", "none")

settings.register_profile("wordwave", deadline=None, print_blob=True)
settings.load_profile("wordwave")


LONGEST_FIRST = ("tests/e2e/", "tests/faults/", "tests/docs/", "tests/flows/")
"""Folders with the files that take longest: begun last, one would keep a process busy and the others idle."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take longest; files, and tests in them, otherwise keep their order."""

    def turn(item: pytest.Item) -> int:
        folders = [item.nodeid.startswith(folder) for folder in LONGEST_FIRST]
        return folders.index(True) if any(folders) else len(folders)

    items.sort(key=turn)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Where WORDWAVE_NO_SKIP is set, a test that needs the real audio and skips has failed."""
    report = yield
    is_marked = item.get_closest_marker("data") is not None  # keywords hold folder names too
    needs_audio = is_marked or "test_data" in getattr(item, "fixturenames", ())
    if report.skipped and needs_audio and os.environ.get("WORDWAVE_NO_SKIP"):
        report.outcome = "failed"
    return report


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real audio that WORDWAVE_TEST_DATA names."""
    value = os.environ.get("WORDWAVE_TEST_DATA")
    if not value:
        pytest.skip("WORDWAVE_TEST_DATA is not set: this test needs the real audio")
    return Path(value)


@pytest.fixture(scope="session")
def golden(test_data: Path) -> Path:
    """Numbers recorded from the released research code; they lie beside the real audio."""
    return test_data.parent / "golden"
