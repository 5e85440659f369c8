"""The password of our Prefect server: drawn once, for its owner alone, and sent to that server alone."""

import os
import stat
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from flows.flow_runs.own_server import (
    LOOPBACK,
    AlreadyRunning,
    announced,
    found_by_clients,
    own_origins,
    password_file,
    read_password,
    without_proxy,
)
from flows.pipeline.configuration.settings import Settings
from flows.server.process import prefect_environment, server_environment


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def known() -> tuple[str | None, str | None]:
    secret = PREFECT_API_AUTH_STRING.value()
    return PREFECT_API_URL.value(), None if secret is None else str(secret)


def test_the_password_is_drawn_once_and_is_its_owners_alone(tmp_path: Path) -> None:
    home = tmp_path / "home"
    drawn = read_password(home)
    assert drawn.startswith("wordwave:")
    assert len(drawn) >= 40
    assert read_password(home) == drawn
    assert read_password(tmp_path / "other") != drawn
    assert (mode(home), mode(home / "prefect"), mode(password_file(home))) == (0o700, 0o700, 0o600)


def test_a_home_from_before_gets_a_password_and_is_closed(tmp_path: Path) -> None:
    folder = tmp_path / "prefect"
    folder.mkdir()
    folder.chmod(0o755)
    read_password(tmp_path)
    password_file(tmp_path).chmod(0o644)
    read_password(tmp_path)
    assert mode(password_file(tmp_path)) == 0o600
    assert mode(folder) & 0o066 == 0
    assert mode(tmp_path) & 0o066 == 0


def test_server_and_clients_share_the_password_which_no_flow_sees_as_the_servers(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    server, flows = server_environment(settings, 4200), prefect_environment(settings, 4200)
    assert (
        server["PREFECT_SERVER_API_AUTH_STRING"]
        == flows["PREFECT_API_AUTH_STRING"]
        == read_password(tmp_path)
    )
    assert server["PREFECT_SERVER_CSRF_PROTECTION_ENABLED"] == "true"
    assert server["PREFECT_SERVER_CORS_ALLOWED_ORIGINS"] == "http://127.0.0.1:4200,http://localhost:4200"
    assert "*" not in "".join(value for name, value in server.items() if "CORS" in name)
    assert own_origins(80) == ("http://127.0.0.1", "http://localhost")


def test_a_running_server_is_found_with_its_password_and_one_that_ended_is_not(tmp_path: Path) -> None:
    password = read_password(tmp_path)
    with temporary_settings(restore_defaults={PREFECT_API_URL, PREFECT_API_AUTH_STRING}):
        with found_by_clients(tmp_path):
            assert known() == (None, None)
        with announced(tmp_path, 4321), found_by_clients(tmp_path):
            assert known() == ("http://127.0.0.1:4321/api", password)
        with found_by_clients(tmp_path):
            assert known() == (None, None)


def test_the_password_is_not_sent_to_another_server(tmp_path: Path) -> None:
    read_password(tmp_path)
    named = "http://127.0.0.1:9999/api"
    with (
        temporary_settings({PREFECT_API_URL: named}, restore_defaults={PREFECT_API_AUTH_STRING}),
        announced(tmp_path, 4321),
        found_by_clients(tmp_path),
    ):
        assert known() == (named, None)


def test_loopback_needs_no_proxy_and_what_was_excluded_stays_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import httpx
    from botocore.utils import get_environ_proxies

    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", "intranet.example")
    monkeypatch.delenv("no_proxy", raising=False)
    for name, value in without_proxy().items():
        monkeypatch.setenv(name, value)
    assert os.environ["no_proxy"].split(",") == ["intranet.example", *LOOPBACK]
    with httpx.Client() as client:
        for host in ("127.0.0.1:4200", "localhost", "intranet.example"):
            through = client._transport_for_url(httpx.URL(f"http://{host}/"))
            assert through is client._transport, host
            assert get_environ_proxies(f"http://{host}/") == {}, host
        assert client._transport_for_url(httpx.URL("http://s3.example/")) is not client._transport


def test_a_second_server_of_one_folder_is_refused_and_told_where_the_first_one_is(tmp_path: Path) -> None:
    with announced(tmp_path, 4321):
        first = rf"process {os.getpid()}, http://127.0.0.1:4321\."
        with pytest.raises(AlreadyRunning, match=first), announced(tmp_path, 4322):
            pass
        with temporary_settings(restore_defaults={PREFECT_API_URL}), found_by_clients(tmp_path):
            assert known()[0] == "http://127.0.0.1:4321/api"
    with announced(tmp_path, 4322):
        pass
