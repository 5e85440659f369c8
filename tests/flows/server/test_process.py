"""Prefect's own database: ours by default, another one where it is named, and its password for nobody."""

from pathlib import Path

import pytest

from flows.pipeline.configuration.settings import Settings
from flows.server.process import DATABASE, ServerSettings, database_environment, prefect_environment

URL = "postgresql://prefect:pass-word@host:5433/prefect?sslmode=require"


def test_prefect_keeps_its_rows_where_it_does_by_itself(tmp_path: Path) -> None:
    settings = ServerSettings(home=tmp_path)
    assert database_environment(settings) == {}
    assert prefect_environment(settings, 4200)["PREFECT_HOME"] == str(tmp_path / "prefect")


def test_a_postgres_of_its_own_is_for_the_server_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDWAVE_PREFECT_DATABASE_URL", URL)
    settings = ServerSettings()
    given = database_environment(settings)
    assert given == {DATABASE: URL.replace("postgresql:", "postgresql+asyncpg:")}
    assert "pass-word" not in str(prefect_environment(settings, 4200))


def test_its_password_is_shown_to_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDWAVE_PREFECT_DATABASE_URL", URL)
    shown = ServerSettings().describe()
    assert shown["WORDWAVE_PREFECT_DATABASE_URL"] == "postgresql://prefect:***@host:5433/prefect"
    assert shown.keys() > Settings().describe().keys()
    assert "pass-word" not in repr(ServerSettings())
