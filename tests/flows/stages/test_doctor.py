"""The doctor finds what is wrong and says what to do, and one trouble does not hide another."""

from flows.settings import Settings
from flows.stages.doctor import examine
from tests.fixtures_postgres import Database


def test_a_healthy_place_passes_every_check(settings: Settings) -> None:
    checks = list(examine(settings))
    assert [check.name for check in checks if not check.passed] == []
    assert {check.name for check in checks} >= {"database", "schema", "roles", "storage", "codec", "device"}


def test_each_trouble_is_named_with_its_remedy(settings: Settings) -> None:
    sick = settings.model_copy(update={"codec": "mini-codek", "llm": "/nowhere/llama"})
    found = {check.name: check for check in examine(sick) if not check.passed}
    assert set(found) == {"codec", "llm"}
    assert "did you mean 'mini-codec'" in found["codec"].finding
    assert "WORDWAVE_LLM" in found["llm"].remedy


def test_a_database_that_is_down_fails_without_showing_its_password(settings: Settings) -> None:
    url = "postgresql://wordwave_writer:sesame@127.0.0.1:1/none"
    down = Settings(**{**settings.model_dump(exclude_defaults=True), "database_url": url})
    checks = {check.name: check for check in examine(down)}
    assert not checks["database"].passed
    assert "sesame" not in str(checks)


def test_flows_that_write_as_an_administrator_are_reported(settings: Settings, database: Database) -> None:
    admin = database.server.admin_url(database.name)
    checks = {
        check.name: check
        for check in examine(
            Settings(**{**settings.model_dump(exclude_defaults=True), "database_url": admin})
        )
    }
    assert not checks["roles"].passed
    assert checks["database"].passed
