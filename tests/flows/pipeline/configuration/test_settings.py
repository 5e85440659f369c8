"""Settings come from WORDWAVE_* and are shown without secrets."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import ValidationError

from core.decoding.audio_stream import AudioLimits
from flows.pipeline.configuration.settings import Settings


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in Settings().describe():
        monkeypatch.delenv(name, raising=False)


def test_without_any_variable_everything_lies_at_home_and_nothing_may_be_read() -> None:
    settings = Settings()
    assert settings.home == Path.home() / ".wordwave"
    assert settings.storage_uri == str(settings.home / "storage")
    assert settings.read_roots == ()
    assert (settings.codec, settings.llm, settings.device) == ("mini-codec", "mini-llama", "auto")
    assert settings.database_url is None


def test_each_field_is_read_from_its_variable(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name, value in {
        "HOME": str(tmp_path),
        "DATABASE_URL": "postgresql://user:pass@host/db",
        "READ_ROOTS": " s3://bucket/calls , /data/audio,",
        "LLM": "none",
        "DEVICE": "cuda:1",
        "ALLOW_SILENT": "true",
        "MAX_DURATION": "60",
        "CODEC": "",
    }.items():
        monkeypatch.setenv(f"WORDWAVE_{name}", value)
    settings = Settings()
    assert settings.storage_uri == str(tmp_path / "storage")
    assert settings.database_url is not None
    assert settings.database_url.get_secret_value() == "postgresql://user:pass@host/db"
    assert settings.read_roots == ("s3://bucket/calls", "/data/audio")
    assert settings.llm is None
    assert settings.device == "cuda:1"
    assert settings.audio_limits == AudioLimits(max_duration=60, allow_silent=True)
    assert settings.codec == "mini-codec"


def test_another_codec_comes_without_the_small_llm_which_does_not_know_its_words() -> None:
    assert Settings(codec="/models/llm-codec").llm is None
    assert Settings(codec="/models/llm-codec", llm="/models/llama").llm == "/models/llama"


def test_the_llm_answers_with_audio_too_but_for_the_small_one_which_has_another_beside_it() -> None:
    assert Settings().generation_llm == "mini-llama-audio"
    assert Settings(llm="none").generation_llm is None
    assert Settings(llm="/models/llama").generation_llm == "/models/llama"
    assert Settings(codec="/models/llm-codec").generation_llm is None
    assert Settings(llm="none", generation_llm="/models/llama").generation_llm == "/models/llama"


def test_the_bounds_of_audio_are_those_of_the_decoder() -> None:
    assert Settings().audio_limits == AudioLimits()
    assert {field.name for field in fields(AudioLimits)} <= set(Settings.model_fields)


def test_every_setting_is_described_and_no_password_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", "postgresql://writer:pass-word@host/db")
    monkeypatch.setenv("WORDWAVE_OWNER_DATABASE_URL", "host=h password=pass-word")
    shown = Settings().describe()
    assert list(shown) == [f"WORDWAVE_{name.upper()}" for name in Settings.model_fields]
    assert shown["WORDWAVE_DATABASE_URL"] == "postgresql://writer:***@host/db"
    assert shown["WORDWAVE_TEST_DATA"] == "-"
    assert "pass-word" not in str(shown)
    assert "pass-word" not in repr(Settings())


@pytest.mark.parametrize("field", ["storage_uri", "s3_endpoint_url", "read_roots"])
def test_a_credential_in_an_address_is_refused_and_not_repeated(
    field: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WORDWAVE_{field.upper()}", "https://user:pass-word@host")
    with pytest.raises(ValidationError, match="credential") as error:
        Settings()
    assert "pass-word" not in str(error.value)


@pytest.mark.parametrize(
    ("field", "value"), [("device", "gpu"), ("batch_size", "0"), ("max_bytes", "-1"), ("max_channels", "x")]
)
def test_a_value_out_of_bounds_is_refused_by_name(
    field: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"WORDWAVE_{field.upper()}", value)
    with pytest.raises(ValidationError, match=field):
        Settings()


def test_settings_do_not_change_and_a_place_is_added_to_a_copy() -> None:
    settings = Settings()
    with pytest.raises(ValidationError):
        settings.codec = "other"  # type: ignore[misc]
    assert settings.reading("/a", "s3://bucket").read_roots == ("/a", "s3://bucket")
    assert settings.read_roots == ()
    with pytest.raises(ValueError, match="credential"):
        settings.reading("s3://user:pass@bucket")
    assert hash(settings) == hash(Settings())


@pytest.mark.parametrize(
    "module",
    [
        "flows.pipeline.configuration.settings",
        "flows.forms",
        "flows.pipeline.storage",
        "flows.pipeline.labeling.exports.files",
    ],
)
def test_settings_forms_and_storage_load_no_model_no_prefect_and_no_s3_client(module: str) -> None:
    code = (
        f"import sys, {module}; print(*({{'torch', 'prefect', 'boto3', 'transformers'}} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_codings_are_allowed_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORDWAVE_EXTRA_CODINGS", "gsm, ima_adpcm")
    assert Settings().audio_limits.extra_codings == ("gsm", "ima_adpcm")
    monkeypatch.setenv("WORDWAVE_EXTRA_CODINGS", "adpcm")
    with pytest.raises(ValidationError, match="ima_adpcm, ms_adpcm"):
        Settings()
