"""Prefect's server answers under its own names and to its own pages alone, WebSockets included."""

import subprocess
import sys

import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from starlette.testclient import TestClient, WebSocketDenialResponse
from starlette.websockets import WebSocket

from flows.forms import ON_DAY, PREFIX
from flows.server.api_server import OwnOriginsOnly

OWN = ["http://127.0.0.1:4200", "http://localhost:4200"]
FOREIGN_HOSTS = [
    "evil.example",
    "evil.example:4200",
    "127.0.0.1:4201",
    "127.0.0.1",
    "localhost:4200.evil.example",
    "",
]
FOREIGN_ORIGINS = ["https://evil.example", "null", "http://127.0.0.1:8080", "https://127.0.0.1:4200", ""]


async def greet(websocket: WebSocket) -> None:
    await websocket.accept()
    await websocket.send_text("heard")
    await websocket.close()


@pytest.fixture
def client() -> TestClient:
    routes = [
        Route("/", lambda _: PlainTextResponse("heard"), methods=["GET", "POST", "OPTIONS"]),
        WebSocketRoute("/events", greet),
    ]
    return TestClient(OwnOriginsOnly(Starlette(routes=routes), OWN), base_url=OWN[0])


@pytest.mark.parametrize("host", ["127.0.0.1:4200", "localhost:4200", "LOCALHOST:4200"])
@pytest.mark.parametrize("origin", [*OWN, None])
def test_its_own_names_and_pages_are_answered(client: TestClient, host: str, origin: str | None) -> None:
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    assert client.get("/", headers=headers).text == "heard"
    with client.websocket_connect("/events", headers=headers) as websocket:
        assert websocket.receive_text() == "heard"


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
@pytest.mark.parametrize(
    "headers",
    [*({"Host": host} for host in FOREIGN_HOSTS), *({"Origin": origin} for origin in FOREIGN_ORIGINS)],
)
def test_others_are_refused(client: TestClient, method: str, headers: dict[str, str]) -> None:
    refused = client.request(method, "/", headers=headers)
    assert refused.status_code == 403
    assert "heard" not in refused.text
    assert "access-control-allow-origin" not in refused.headers
    with pytest.raises(WebSocketDenialResponse), client.websocket_connect("/events", headers=headers):
        pass


def test_a_second_host_or_origin_hides_nothing(client: TestClient) -> None:
    for name, own, foreign in (("Host", "127.0.0.1:4200", "evil.example"), ("Origin", OWN[0], "null")):
        for pair in ([own, foreign], [foreign, own]):
            assert client.get("/", headers=[(name, value) for value in pair]).status_code == 403


def test_its_pages_reach_its_own_origins_alone_and_stand_in_no_frame(client: TestClient) -> None:
    for answer in (
        client.get("/"),
        client.get("/nowhere"),
        client.get("/", headers={"Host": "evil.example"}),
    ):
        (policy,) = answer.headers.get_list("content-security-policy")
        reached = {rule.split()[0]: set(rule.split()[1:]) for rule in policy.split("; ")}
        assert reached["connect-src"] == {*OWN, "ws://127.0.0.1:4200", "ws://localhost:4200"}
        assert reached["frame-ancestors"] == {"'none'"}


REFUSED = """
from flows.server.api_server import refuse_in_sentences
refuse_in_sentences()
from prefect.utilities.schema_tools.validation import validate
from flows.deployments import NIGHTLY
form = NIGHTLY.load().parameters.model_dump()
for error in validate({"prefix": "calls/{day}", "library": "sounds", "day": "later"}, form):
    print(error.message)
"""


def test_a_value_that_a_form_does_not_take_is_refused_in_a_sentence() -> None:
    done = subprocess.run([sys.executable, "-c", REFUSED], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [PREFIX.refusal, ON_DAY.refusal]
