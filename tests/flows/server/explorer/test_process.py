"""Where the pages are next to the UI, and when they are not."""

import socket
from pathlib import Path

import pytest
from pydantic import ValidationError

from flows.pipeline.runtime.database import analyst_url
from flows.server.explorer.process import plan_pages
from flows.server.process import ServerSettings
from tests.e2e.service import free_port

OWN = {"database_url": "postgresql://w@h/d", "analyst_database_url": "postgresql://a@h/d"}


def settings(home: Path, **given: object) -> ServerSettings:
    return ServerSettings(home=home, **{**OWN, **given})  # type: ignore[arg-type]


def test_they_are_on_the_port_after_the_ui(tmp_path: Path) -> None:
    port = free_port()
    assert plan_pages(settings(tmp_path), port - 1).port == port
    assert f"http://127.0.0.1:{port}" in str(plan_pages(settings(tmp_path), port - 1))
    assert plan_pages(settings(tmp_path, explore_port=port), 9).port == port


def test_without_an_analyst_they_are_not_served(tmp_path: Path) -> None:
    lacking = settings(tmp_path, analyst_database_url=None)
    assert str(plan_pages(lacking, 4200)).endswith("set WORDWAVE_ANALYST_DATABASE_URL")
    with pytest.raises(ValueError, match="WORDWAVE_ANALYST_DATABASE_URL"):
        analyst_url(lacking)
    assert plan_pages(settings(tmp_path, explore_port=0), 4200).port is None


def test_a_port_that_is_taken_ends_the_start_only_if_it_was_asked_for(tmp_path: Path) -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = listening.getsockname()[1]
        assert "taken" in plan_pages(settings(tmp_path), port - 1).reason
        with pytest.raises(OSError, match="not available"):
            plan_pages(settings(tmp_path, explore_port=port), 4200)


@pytest.mark.parametrize(
    "url", ["listen.example", "https://a/b", "https://u:p@a", "javascript:alert(1)", "https://a b"]
)
def test_an_address_for_links_is_an_origin(tmp_path: Path, url: str) -> None:
    with pytest.raises(ValidationError):
        settings(tmp_path, explore_url=url)
    assert settings(tmp_path, explore_url="https://listen.example:8443").explore_url
