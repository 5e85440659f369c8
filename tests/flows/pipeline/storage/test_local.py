"""What only local folders can do to us."""

import logging
import os
import signal
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from errno import EACCES, EIO
from io import FileIO
from pathlib import Path
from typing import Any

import pytest

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import ObjectVersion, Storage, StorageDenied, StorageRefused, open_storage
from flows.pipeline.storage.uris import file_path, file_uri


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    folder.mkdir()
    return folder


@pytest.fixture
def storage(tmp_path: Path, clips: Path) -> Storage:
    results = str(tmp_path / "results")
    return open_storage(results, Settings(home=tmp_path, storage_uri=results, read_roots=(str(clips),)))


def names(storage: Storage, folder: Path) -> list[str]:
    return [Path(clip.uri).name for clip in storage.list(str(folder))]


def test_names_that_are_no_text_and_names_with_newlines_are_listed_and_read(
    storage: Storage, clips: Path
) -> None:
    for name in [b"\xff\xfe.wav", b"new\nline.wav"]:
        Path(os.fsdecode(os.fsencode(clips) + b"/" + name)).write_bytes(name)
    found = list(storage.list(str(clips)))
    assert [clip.uri.rsplit("/", 1)[1] for clip in found] == ["%FF%FE.wav", "new%0Aline.wav"]
    for clip, content in zip(found, [b"\xff\xfe.wav", b"new\nline.wav"], strict=True):
        with storage.read(clip.uri, clip.version_token) as fetched:
            assert fetched.path.read_bytes() == content


def test_a_link_out_of_the_read_roots_is_left_out_with_a_warning_and_never_read(
    storage: Storage, clips: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"secret")
    (clips / "link.wav").symlink_to(secret)
    with caplog.at_level(logging.WARNING):
        assert names(storage, clips) == []
    assert "WORDWAVE_READ_ROOTS" in caplog.text
    with pytest.raises(StorageRefused), storage.read(file_uri(clips / "link.wav"), "0:0:0"):
        pass


def test_a_link_inside_the_read_roots_is_a_clip_of_its_own(storage: Storage, clips: Path) -> None:
    (clips / "a.wav").write_bytes(b"x")
    (clips / "b.wav").symlink_to("a.wav")
    assert names(storage, clips) == ["a.wav", "b.wav"]


def test_a_file_swapped_for_a_link_after_the_listing_is_not_read(
    storage: Storage, clips: Path, tmp_path: Path
) -> None:
    (clips / "a.wav").write_bytes(b"12345")
    (clip,) = storage.list(str(clips))
    (clips / "other").write_bytes(b"54321")
    (clips / "a.wav").unlink()
    (clips / "a.wav").symlink_to("other")
    with pytest.raises(AudioRejected, match="gone"), storage.read(clip.uri, clip.version_token):
        pass


def test_links_to_folders_and_links_in_circles_end_no_listing(
    storage: Storage, clips: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (clips / "a.wav").write_bytes(b"x")
    (clips / "folder").symlink_to(".")
    (clips / "circle").symlink_to("circle")
    (clips / "nothing").symlink_to("not-there")
    with caplog.at_level(logging.WARNING):
        assert names(storage, clips) == ["a.wav"]
    assert "name the folder itself" in caplog.text


def test_a_named_pipe_is_no_clip_and_does_not_make_anyone_wait(storage: Storage, clips: Path) -> None:
    os.mkfifo(clips / "pipe.wav")
    assert names(storage, clips) == []
    status = (clips / "pipe.wav").stat()
    token = f"{status.st_size}:{status.st_mtime_ns + 1}:{status.st_ino}"
    with pytest.raises(AudioRejected, match="gone"), storage.read(file_uri(clips / "pipe.wav"), token):
        pass


def test_a_folder_in_a_files_place_is_gone(storage: Storage, clips: Path) -> None:
    (clips / "a.wav").write_bytes(b"x")
    (clip,) = storage.list(str(clips))
    (clips / "a.wav").unlink()
    (clips / "a.wav").mkdir()
    with pytest.raises(AudioRejected, match="gone"), storage.read(clip.uri, clip.version_token):
        pass


def test_folders_nested_a_thousand_deep_are_listed(storage: Storage, clips: Path) -> None:
    folders = [f"{clips}{'/d' * depth}" for depth in range(1, 1011)]
    for folder in folders:
        os.mkdir(folder)
    Path(folders[-1], "a.wav").write_bytes(b"x")
    try:
        assert names(storage, clips) == ["a.wav"]
    finally:  # pytest would remove them by recursion
        os.unlink(f"{folders[-1]}/a.wav")
        for folder in reversed(folders):
            os.rmdir(folder)


def test_a_time_that_no_calendar_has_is_still_listed(storage: Storage, clips: Path) -> None:
    for name, seconds in [("before.wav", -(10**10)), ("after.wav", 10**10)]:
        (clips / name).write_bytes(b"x")
        os.utime(clips / name, (seconds, seconds))
    assert [clip.last_modified.year for clip in storage.list(str(clips))] == [2286, 1970]


def test_a_large_file_is_copied_in_bounded_memory(storage: Storage, clips: Path) -> None:
    with (clips / "large.wav").open("wb") as file:
        file.truncate(32 * 2**20)
    (clip,) = storage.list(str(clips))
    tracemalloc.start()
    with storage.read(clip.uri, clip.version_token) as fetched:
        assert fetched.size == 32 * 2**20
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_writer_that_is_killed_leaves_no_torn_object(storage: Storage, tmp_path: Path) -> None:
    pipe = tmp_path / "endless"
    os.mkfifo(pipe)
    code = (
        "import sys; from pathlib import Path; from flows.pipeline.configuration.settings import Settings; "
        "from flows.pipeline.storage import open_storage; "
        "open_storage(sys.argv[1], Settings(home=sys.argv[2], storage_uri=sys.argv[1]))"
        ".write('runs/1/big', Path(sys.argv[3]))"
    )
    results = tmp_path / "results"
    writer = subprocess.Popen([sys.executable, "-c", code, str(results), str(tmp_path), str(pipe)])
    with pipe.open("wb") as feed:  # opens when the writer reads
        feed.write(bytes(2**20 + 1))
        feed.flush()
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    assert (results / "runs" / "1").is_dir()
    assert list(storage.list(str(results / "runs"))) == []
    assert storage.write("runs/1/big", b"whole").size == 5
    (found,) = storage.list(str(results / "runs"))
    assert isinstance(found, ObjectVersion)
    assert found.size == 5


def test_who_reads_while_it_is_written_again_reads_a_whole_object(storage: Storage) -> None:
    contents = [b"a" * 2**20, b"b" * 2**21]
    path = file_path(storage.write("a", contents[0]).uri)
    seen = []
    with ThreadPoolExecutor(1) as writer:
        done = writer.submit(lambda: [storage.write("a", contents[turn % 2]) for turn in range(40)])
        while not done.done():
            seen.append(path.read_bytes())
    assert {len(data) for data in seen} <= {2**20, 2**21}
    assert all(data in contents for data in seen)


def test_a_result_is_readable_by_others_as_the_umask_says(storage: Storage) -> None:
    before = os.umask(0o027)
    try:
        path = Path(storage.write("a", b"x").uri.removeprefix("file://"))
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_link_among_the_results_does_not_lead_a_write_astray(storage: Storage, tmp_path: Path) -> None:
    storage.write("a", b"x")
    (tmp_path / "results" / "runs").symlink_to(tmp_path / "clips")
    with pytest.raises(StorageRefused):
        storage.write("runs/a", b"x")
    assert list((tmp_path / "clips").iterdir()) == []


def rewrite_in_place(path: Path, data: bytes) -> None:
    """Write other bytes of the same number, and set the times back, as some tools do."""
    before = path.stat()
    while path.stat().st_ctime_ns == before.st_ctime_ns:  # the kernel's clock ticks every few milliseconds
        with path.open("r+b") as file:
            file.write(data)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)


def test_a_file_rewritten_in_place_with_its_old_time_is_another_version(
    storage: Storage, clips: Path
) -> None:
    (clips / "a.wav").write_bytes(b"12345")
    (before,) = storage.list(str(clips))
    rewrite_in_place(clips / "a.wav", b"54321")
    (after,) = storage.list(str(clips))
    assert after.version_token != before.version_token
    with pytest.raises(AudioRejected, match="gone"), storage.read(before.uri, before.version_token):
        pass


def test_a_token_of_the_former_form_is_one_of_the_same_file(storage: Storage, clips: Path) -> None:
    (clips / "a.wav").write_bytes(b"12345")
    (clip,) = storage.list(str(clips))
    status = (clips / "a.wav").stat()
    assert clip.former_token == f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"
    with storage.read(clip.uri, clip.former_token) as fetched:
        assert fetched.size == 5


def long_path(folder: Path, length: int, name: str = "x") -> Path:
    """A path of so many bytes below a folder."""
    parts = [name * 200] * ((length - len(os.fsencode(folder))) // 201)
    path = folder.joinpath(*parts, "a.wav")
    path.parent.mkdir(parents=True)
    path.write_bytes(b"x")
    return path


@pytest.mark.parametrize("length", [2_900, 3_500])
def test_a_name_too_long_for_the_database_costs_its_clip_only(
    storage: Storage, clips: Path, length: int
) -> None:
    long_path(clips, length)
    (clips / "b.wav").write_bytes(b"x")
    found = list(storage.list(str(clips)))
    assert list(storage.list(str(clips))) == found
    (cut,) = (clip for clip in found if not clip.uri.endswith("/b.wav"))
    assert len(cut.uri.encode()) < 2_500
    with (
        pytest.raises(AudioRejected, match="2500 percent-encoded characters") as error,
        storage.read(cut.uri, cut.version_token),
    ):
        pass
    assert error.value.reason == "unsupported"


def test_long_names_that_begin_alike_stay_apart(storage: Storage, clips: Path) -> None:
    folder = long_path(clips, 2_900).parent
    (folder / "b.wav").write_bytes(b"x")
    assert len({clip.uri for clip in storage.list(str(clips))}) == 2


def test_a_place_whose_own_name_is_too_long_is_refused(storage: Storage, clips: Path) -> None:
    with pytest.raises(StorageRefused, match="is too long"):
        storage.list(str(long_path(clips, 2_900).parent))


@pytest.mark.parametrize("code", [EIO, EACCES])
def test_one_folder_that_cannot_be_listed_costs_itself_alone(
    storage: Storage,
    clips: Path,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("a/1.wav", "bad/2.wav", "c/3.wav"):
        (clips / name).parent.mkdir()
        (clips / name).write_bytes(b"x")
    break_path(monkeypatch, "scandir", clips / "bad", code)
    with caplog.at_level(logging.WARNING):
        found = list(storage.list(str(clips)))
    assert [clip.uri.removeprefix(file_uri(clips)) for clip in found] == ["/a/1.wav", "/bad", "/c/3.wav"]
    assert [clip.is_unlisted for clip in found] == [False, True, False]
    assert "bad" in caplog.text


def test_one_file_that_cannot_be_looked_at_costs_itself_alone(
    storage: Storage, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a.wav", "bad.wav"):
        (clips / name).write_bytes(b"x")
    break_path(monkeypatch, "stat", clips / "bad.wav", EIO)
    assert [clip.is_unlisted for clip in storage.list(str(clips))] == [False, True]


def test_a_place_that_cannot_be_listed_itself_is_an_error(
    storage: Storage, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    break_path(monkeypatch, "scandir", clips, EACCES)
    with pytest.raises(StorageDenied, match="may not be read"):
        list(storage.list(str(clips)))


class BadSector(FileIO):
    """A file that opens, and whose bytes the disk cannot give."""

    def read(self, size: int | None = -1, /) -> bytes:
        raise OSError(EIO, os.strerror(EIO))


@pytest.mark.parametrize("at_opening", [True, False])
def test_a_file_that_the_disk_cannot_read_costs_itself_alone(
    storage: Storage, clips: Path, at_opening: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    (clips / "bad.wav").write_bytes(b"x")
    [clip] = storage.list(str(clips))

    def fail(path: Path, *_: Any, **__: Any) -> FileIO:
        if at_opening:
            raise OSError(EIO, os.strerror(EIO))
        return BadSector(path)

    monkeypatch.setattr("flows.pipeline.storage.local.FileIO", fail)
    with pytest.raises(AudioRejected) as error, storage.read(clip.uri, clip.version_token):
        pass
    assert error.value.reason == "unreadable"


def break_path(monkeypatch: pytest.MonkeyPatch, name: str, broken: Path, code: int) -> None:
    """Let a call of the system fail for one path."""
    real = getattr(os, name)

    def fails(path: str, *args: object, **kwargs: object) -> object:
        if os.fspath(path) == str(broken):
            raise OSError(code, os.strerror(code), path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(f"flows.pipeline.storage.local.os.{name}", fails)
