"""The doctor finds what is wrong and says what to do, and one trouble does not hide another."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from importlib.metadata import version
from pathlib import Path
from typing import Self

import pytest

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.maintenance import doctor as examination
from flows.pipeline.runtime.resources import Runtime
from flows.server.health import examine_service
from tests.fixtures_postgres import Database, administer
from tests.flows.pipeline.labeling.test_label import write_llama
from tests.spectral_gate import SpectralGate


@pytest.fixture(autouse=True)
def no_server() -> Iterator[None]:
    """Other tests may have left one named."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    with temporary_settings(restore_defaults={PREFECT_API_URL}):
        yield


@pytest.fixture
def settings(tmp_path: Path, database_url: str) -> Settings:
    """A place where all is well."""
    (tmp_path / "clips").mkdir()
    readable = (str(tmp_path / "clips"),)
    return Settings(home=tmp_path / "home", database_url=database_url, read_roots=readable)


def test_a_healthy_place_passes_every_check(settings: Settings) -> None:
    checks = list(examine_service(settings))
    assert [check.name for check in checks if not check.passed] == []
    assert [check.name for check in checks] == [
        "versions",
        "database",
        "clock",
        "schema",
        "roles",
        "analysts",
        "storage",
        "readable",
        "decoder",
        "libraries",
        "codec",
        "llm",
        "audio llm",
        "embeddings",
        "denoiser",
        "judge of speech",
        "ray",
        "device",
        "server",
        "workers",
        "limits",
        "alerts",
    ]


def test_the_walls_around_decoding_are_told_as_the_kernel_has_them(settings: Settings) -> None:
    found = next(check for check in examine_service(settings) if check.name == "decoder")
    assert "libsndfile" in found.finding
    assert "PyAV" in found.finding
    assert "seccomp on, no_new_privs on" in found.finding


def test_each_trouble_is_named_with_its_remedy(settings: Settings) -> None:
    changes = {"codec": "mini-codek", "llm": "/nowhere/llama", "generation_llm": "/nowhere/audio"}
    sick = settings.model_copy(update=changes)
    found = {check.name: check for check in examine_service(sick) if not check.passed}
    assert set(found) == {"codec", "llm", "audio llm"}
    assert "did you mean 'mini-codec'" in found["codec"].finding
    assert "WORDWAVE_LLM" in found["llm"].remedy
    assert "WORDWAVE_GENERATION_LLM" in found["audio llm"].remedy


def test_the_denoiser_is_named_with_its_license_or_the_extra_that_brings_it(settings: Settings) -> None:
    denoiser, _ = examination.EXAMINATIONS["denoiser"]
    for name, finding in ((None, "none: WORDWAVE_DENOISER is none"), ("deepfilter", "wordwave[denoise]")):
        runtime = Runtime(settings.model_copy(update={"denoiser": name}))
        runtime.denoiser = None
        assert finding in denoiser(runtime)
    gate = SpectralGate()
    runtime.denoiser = gate
    expected = f"spectral-gate, fingerprint {gate.fingerprint[:12]}, license Apache-2.0"
    assert denoiser(runtime) == expected


def test_one_llm_for_labels_and_audio_is_hashed_once(settings: Settings, tmp_path: Path) -> None:
    llama = str(write_llama(tmp_path / "llama"))
    one = settings.model_copy(update={"llm": llama, "generation_llm": llama})
    assert {check.name: check for check in examine_service(one)}["audio llm"].finding == "the same"


def test_a_database_that_is_down_fails_without_showing_its_password(settings: Settings) -> None:
    url = "postgresql://wordwave_writer:sesame@127.0.0.1:1/none"
    down = Settings(**{**settings.model_dump(exclude_defaults=True), "database_url": url})
    checks = {check.name: check for check in examine_service(down)}
    assert not checks["database"].passed
    assert "sesame" not in str(checks)


def test_flows_that_write_as_an_administrator_are_reported(settings: Settings, database: Database) -> None:
    admin = database.server.admin_url(database.name)
    checks = {
        check.name: check
        for check in examine_service(
            Settings(**{**settings.model_dump(exclude_defaults=True), "database_url": admin})
        )
    }
    assert not checks["roles"].passed
    assert checks["database"].passed


def test_a_place_that_cannot_be_listed_is_named(settings: Settings) -> None:
    wrong = settings.model_copy(update={"read_roots": ("s3://no-such-bucket-anywhere/clips",)})
    found = {check.name: check for check in examine_service(wrong)}
    assert not found["readable"].passed
    assert "no-such-bucket-anywhere" in found["readable"].finding


def test_a_model_that_was_changed_in_place_is_another_one_even_with_its_old_time(
    settings: Settings, tmp_path: Path
) -> None:
    llama = write_llama(tmp_path / "llama")
    with_llm = settings.model_copy(update={"llm": str(llama)})
    first = {check.name: check for check in examine_service(with_llm)}["llm"]
    assert first.passed
    weights = llama / "model.safetensors"
    before = weights.stat()
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    os.utime(weights, ns=(before.st_atime_ns, before.st_mtime_ns))
    found = {check.name: check for check in examine_service(with_llm)}["llm"]
    assert found.passed
    assert found.finding != first.finding


def test_a_package_of_another_version_is_named(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examination, "version", lambda name: "0.0.1" if name == "alembic" else version(name))
    found = {check.name: check for check in examine_service(settings)}["versions"]
    assert not found.passed
    assert "alembic" in found.finding


def test_a_clock_that_is_far_from_the_databases_is_found(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Late(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) - timedelta(hours=1)

    monkeypatch.setattr(examination, "datetime", Late)
    found = {check.name: check for check in examine_service(settings)}["clock"]
    assert found.finding == "the database's clock is 3600 s away, more than 5"


def test_what_is_open_to_analysts_is_named(settings: Settings, database: Database) -> None:
    administer(database.server, f"GRANT TEMPORARY ON DATABASE {database.name} TO PUBLIC")
    found = {check.name: check for check in examine_service(settings)}["analysts"]
    assert not found.passed
    assert "temporary tables" in found.finding
    assert "db/bootstrap.sql" in found.remedy
