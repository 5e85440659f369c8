"""A real Prefect server for the tests of flows, and a worker's environment that leads to a fresh database."""

import gc
import json
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.world import tone
from tests.fixtures_postgres import Database

LABELS = {"low.wav": "low", "high.wav": "high"}


@pytest.fixture(scope="session")
def prefect_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One server for all flow tests; everything it keeps lies in a temporary folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_HOME", str(tmp_path_factory.mktemp("prefect")))
        patch.setenv("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
        patch.setenv("PREFECT_LOGGING_LEVEL", "WARNING")
        from prefect.settings import get_current_settings, temporary_settings
        from prefect.testing.utilities import prefect_test_harness

        with temporary_settings(), prefect_test_harness(server_startup_timeout=120):
            assert get_current_settings().home.is_relative_to(tmp_path_factory.getbasetemp())
            yield
    collect_sockets()


@pytest.fixture
def four_threads() -> Iterator[None]:
    """As on a machine of four cores."""
    import torch

    from flows.pipeline.runtime.resources import _all_cores

    before = torch.get_num_threads()
    _all_cores.cache_clear()
    torch.set_num_threads(4)
    yield
    torch.set_num_threads(before)
    _all_cores.cache_clear()


def collect_sockets() -> None:
    """Prefect leaves connections to its server for the collector to close, which warns whoever runs then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
def worker(
    prefect_server: None, database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A worker that may read one folder, which is given; what it opened is closed after the test."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.runtime.resources import shared_runtime

    folder = tmp_path / "readable"
    folder.mkdir()
    monkeypatch.setenv("WORDWAVE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WORDWAVE_DATABASE_URL", database.url("writer"))
    monkeypatch.setenv("WORDWAVE_READ_ROOTS", str(folder))
    yield folder
    shared_runtime(Settings()).close()
    shared_runtime.cache_clear()
    collect_sockets()


@pytest.fixture
def manifest(worker: Path) -> str:
    """A library's manifest and clips, which the worker may read."""
    (worker / "low.wav").write_bytes(tone(200))
    (worker / "high.wav").write_bytes(tone(3000))
    rows = [json.dumps({"path": path, "label": label}) for path, label in LABELS.items()]
    (worker / "manifest.jsonl").write_text("\n".join(rows))
    return str(worker / "manifest.jsonl")


@pytest.fixture
def library(manifest: str) -> str:
    """The library, imported without Prefect."""
    from flows.pipeline.configuration.settings import Settings
    from flows.pipeline.libraries.library import import_manifest
    from flows.pipeline.runtime.resources import shared_runtime

    return import_manifest(shared_runtime(Settings()), "sounds", manifest, "label")[0].name


@pytest.fixture
def day(worker: Path) -> Path:
    """A day's folder: two clips and a broken one."""
    folder = worker / "2026-11-21"
    folder.mkdir()
    for name, data in {"a.wav": tone(210), "b.wav": tone(2900), "cut.wav": tone(400)[:-400]}.items():
        (folder / name).write_bytes(data)
    return folder
