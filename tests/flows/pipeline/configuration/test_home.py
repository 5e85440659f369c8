"""The working folder and the results in it are their user's alone; a place that was named keeps its mode."""

import os
import stat
from pathlib import Path

import pytest

from db.private import private_folder
from flows.pipeline.configuration.settings import Settings

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives folders away")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_new_home_and_its_results_are_closed(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "deep" / "home")
    settings.close_home()
    assert mode(settings.home) == mode(settings.home / "storage") == 0o700


def test_an_open_home_is_closed_but_for_passing_through_to_the_postgres_of_root(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    private_folder(tmp_path)
    assert mode(tmp_path) == (0o711 if os.geteuid() == 0 else 0o700)


def test_a_results_folder_that_was_named_keeps_its_mode(tmp_path: Path) -> None:
    results = tmp_path / "results"
    results.mkdir()
    results.chmod(0o775)
    Settings(home=tmp_path / "home", storage_uri=str(results)).close_home()
    assert mode(results) == 0o775
    assert not (tmp_path / "home" / "storage").exists()


def test_a_shared_folder_is_left_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o1777


@as_root
def test_somebody_elses_folder_is_left_alone(tmp_path: Path) -> None:
    os.chown(tmp_path, 12345, 12345)
    tmp_path.chmod(0o755)
    private_folder(tmp_path)
    assert mode(tmp_path) == 0o755
