"""Libraries that no audit of packages sees are named with their versions and what is known against them."""

import re
from pathlib import Path

import pytest

from flows.pipeline.maintenance.vendored import ADVISORIES, VENDORED, describe, installed, known_against

SECURITY = (Path(__file__).parents[4] / "SECURITY.md").read_text()


def test_every_library_has_a_version() -> None:
    found = installed()
    assert found.keys() >= {"libsndfile", "OpenBLAS", "Postgres", "libpq"}
    assert all(re.match(r"\d+\.\d+", number) for number in found.values())


@pytest.mark.parametrize(("number", "known"), [("1.2.2", True), ("1.0.31", True), ("1.2.3", False)])
def test_an_advisory_is_known_against_the_versions_that_it_names(number: str, known: bool) -> None:
    assert ("CVE-2026-37555" in {one.identifier for one in known_against({"libsndfile": number})}) == known


def test_the_doctors_line_names_library_wheel_and_advisory() -> None:
    line = describe()
    for name, number in installed().items():
        assert f"{name} {number} (" in line
    assert all(one.identifier in line for one in known_against(installed()))


def test_the_security_page_names_each_library_and_advisory() -> None:
    assert [one.name for one in VENDORED if one.name not in SECURITY] == []
    assert [one.identifier for one in ADVISORIES if one.identifier not in SECURITY] == []
