"""Where the real audio and the golden numbers lie, for the tests that need them."""

import os
from pathlib import Path

import pytest


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
