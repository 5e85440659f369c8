"""The command itself: what it finds nothing in, and what it leaves behind, which is nothing."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from sqlalchemy import NullPool, create_engine

from db.base import Base
from db.engine import database_url
from flows.cli.main import wordwave
from flows.cli.torture.run import own_trial, torture
from flows.cli.torture.sounds import clip
from flows.cli.torture.trial import Trial
from flows.pipeline.configuration.settings import Settings
from tests.fixtures_postgres import Database
from tests.fixtures_s3 import S3Bucket

SEED, NIGHTS = 4, 2
MODELS = {"codecs", "codebook_words", "llms", "embedding_models"}
"""Tables of what is installed, whoever used it first."""


def settings_for(database: Database, home: Path, storage: str) -> Settings:
    return Settings(
        home=home,
        storage_uri=storage,
        database_url=database.url("writer"),
        owner_database_url=database.url("owner"),
    )


def row_counts(database: Database) -> dict[str, int]:
    engine = create_engine(database_url(database.url("owner")), poolclass=NullPool)
    with engine.connect() as connection:
        return {
            name: connection.exec_driver_sql(f"SELECT count(*) FROM {name}").scalar_one()
            for name in Base.metadata.tables.keys() - MODELS
        }


@pytest.fixture(params=["local", "s3"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A folder, or a bucket."""
    if request.param == "local":
        yield str(tmp_path / "storage")
        return
    s3: S3Bucket = request.getfixturevalue("s3")
    yield s3.uri
    assert "Contents" not in s3.client.list_objects_v2(Bucket=s3.bucket)


def test_nights_are_disturbed_checked_and_taken_out_again(
    database: Database, tmp_path: Path, storage: str
) -> None:
    told: list[str] = []
    report = torture(settings_for(database, tmp_path, storage), SEED, NIGHTS, told.append)
    assert report.found == []
    assert report.attempts["put or overwrite"] > 0
    assert told[-1].startswith(f"night {NIGHTS} of {NIGHTS}")
    assert set(row_counts(database).values()) == {0}
    assert not [path for path in (tmp_path / "storage").rglob("*") if path.is_file()]


def test_rows_of_others_stay(database: Database, tmp_path: Path) -> None:
    settings = settings_for(database, tmp_path, str(tmp_path / "storage"))
    theirs = Trial(settings, "theirs")
    theirs.put("a.wav", clip(40))
    theirs.import_library(1)
    theirs.night()
    before = row_counts(database)
    with own_trial(settings, SEED) as trial:
        trial.put("a.wav", clip(40))  # the same bytes
        trial.import_library(1)
        trial.night()
    assert row_counts(database) == before
    assert theirs.settle() == []
    theirs.close()


def test_without_the_owner_nothing_is_written(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment: dict[str, Any] = {
        "WORDWAVE_HOME": str(tmp_path),
        "WORDWAVE_DATABASE_URL": database.url("writer"),
    }
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refused = CliRunner().invoke(wordwave, ["torture", "--seed", "1", "--nights", "1"])
    assert "WORDWAVE_OWNER_DATABASE_URL" in str(refused.exception)
    assert list(tmp_path.iterdir()) == []
