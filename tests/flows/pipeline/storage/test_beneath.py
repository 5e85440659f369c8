"""A file is opened below its folder by names alone: a link on the way, however new, leads nowhere."""

import os
from errno import ELOOP, ENOTDIR
from pathlib import Path

import pytest

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import Storage, open_storage
from flows.pipeline.storage.beneath import open_beneath


def test_a_file_is_opened_at_any_depth_and_where_it_is_the_root_itself(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "c.wav"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"bytes")
    for root in (tmp_path, tmp_path / "a" / "b", path, Path("/")):
        with os.fdopen(open_beneath(root, path), "rb") as file:
            assert file.read() == b"bytes"


@pytest.mark.parametrize("swapped", ["a", "a/b", "a/b/c.wav"])
def test_a_link_in_the_place_of_any_name_is_not_followed(tmp_path: Path, swapped: str) -> None:
    for world in ("root", "outside"):
        (tmp_path / world / "a" / "b").mkdir(parents=True)
        (tmp_path / world / "a" / "b" / "c.wav").write_bytes(world.encode())
    root = tmp_path / "root"
    (root / swapped).rename(tmp_path / "away")
    (root / swapped).symlink_to(tmp_path / "outside" / swapped)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match=r"symbolic|Not a directory") as error:
        open_beneath(root, root / "a" / "b" / "c.wav")
    assert error.value.errno in {ELOOP, ENOTDIR}
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_folder_that_is_swapped_between_check_and_opening_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, secrets = tmp_path / "clips" / "day", tmp_path / "secrets"
    for place in (folder, secrets):
        place.mkdir(parents=True)
        (place / "a.wav").write_bytes(b"12345")
    storage: Storage = open_storage(
        str(tmp_path / "results"), Settings(home=tmp_path, read_roots=(str(tmp_path / "clips"),))
    )
    (clip,) = storage.list(str(folder))

    def swap(root: Path, path: Path) -> int:
        folder.rename(tmp_path / "away")
        folder.symlink_to(secrets)
        return open_beneath(root, path)

    monkeypatch.setattr("flows.pipeline.storage.local.open_beneath", swap)
    with pytest.raises(AudioRejected, match="gone"), storage.read(clip.uri, clip.version_token):
        pass
