"""The pages answer only people with the password, at their own address, and only reads."""

import pytest
from starlette.testclient import TestClient

from tests.flows.server.explorer.conftest import ADDRESS, Explored

PATHS = ["/", "/search", "/clips/1", "/clips/1/sound", "/static/style.css", "/health", "/none"]


@pytest.fixture
def stranger(explored: Explored) -> TestClient:
    return TestClient(explored.client.app, base_url=ADDRESS)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Basic", "Basic !", "Basic d29yZHdhdmU6c2VjcmU=", "Bearer d29yZHdhdmU6c2VjcmV0"],
)
def test_without_the_password_nothing_is_shown(
    stranger: TestClient, path: str, authorization: str | None
) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    refused = stranger.get(path, headers=headers)
    assert refused.status_code == 401
    assert refused.headers["www-authenticate"].startswith("Basic ")
    assert "secret" not in refused.text


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "127.0.0.1:4200"}, {"Origin": "https://evil.example"}],
)
def test_other_names_and_pages_of_others_are_refused(
    explored: Explored, path: str, headers: dict[str, str]
) -> None:
    assert explored.client.get(path, headers=headers).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("path", ["/", "/search", "/clips/1", "/static/style.css"])
def test_only_reading_is_possible(explored: Explored, method: str, path: str) -> None:
    assert explored.client.request(method, path).status_code == 405


@pytest.mark.parametrize("path", [*PATHS, "/clips", "/nights/x"])
def test_every_answer_keeps_a_browser_from_more(explored: Explored, path: str) -> None:
    headers = explored.client.get(path).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["referrer-policy"] == "no-referrer"
