"""What is read in another process is what would be read in this one."""

import gc
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread

import pytest
from botocore.exceptions import ReadTimeoutError

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import StorageDenied, StorageRefused, is_transient, open_storage
from flows.pipeline.storage.s3.process import Reader, _Child, _pickled
from tests.eventually import eventually
from tests.fixtures_s3 import S3Bucket
from tests.flows.pipeline.storage.test_retryable import answer


@pytest.fixture
def settings(s3: S3Bucket, tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, storage_uri=f"{s3.uri}/results", read_roots=(f"{s3.uri}/clips",))


@pytest.fixture
def reader(settings: Settings) -> Iterator[Reader]:
    with closing(Reader(settings)) as reader:
        yield reader


def put(s3: S3Bucket, settings: Settings, name: str, data: bytes) -> tuple[str, str]:
    """The uri and version token of a new object."""
    listed = open_storage(s3.uri, settings).find(s3.put(f"clips/{name}", data))
    assert listed
    return listed.uri, listed.version_token


def child(reader: Reader) -> int:
    """The process id of the child that reads."""
    assert reader._child
    return reader._child._process.pid


def nameless_files(pid: int | str) -> int:
    """How many private copies a process holds open."""
    held = 0
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        if int(descriptor.name) <= 2:  # what a process that is tested says may be kept in a nameless file
            continue
        with suppress(FileNotFoundError):  # closed meanwhile
            held += "(deleted)" in os.readlink(descriptor)
    return held


def is_gone(pid: int) -> bool:
    return eventually(lambda: not Path(f"/proc/{pid}").exists())


def test_bytes_hash_and_size_are_those_of_the_object(
    s3: S3Bucket, settings: Settings, reader: Reader
) -> None:
    data = os.urandom(3_000_000)
    with reader.read(*put(s3, settings, "a.wav", data)) as fetched:
        assert fetched.path.read_bytes() == data
        assert (fetched.sha256, fetched.size) == (sha256(data).digest(), len(data))


def test_a_clip_that_cannot_be_used_is_rejected_as_in_this_process(
    s3: S3Bucket, settings: Settings, reader: Reader
) -> None:
    uri, token = put(s3, settings, "a.wav", b"first")
    s3.put("clips/a.wav", b"second")
    with pytest.raises(AudioRejected) as here, open_storage(s3.uri, settings).read(uri, token):
        pass
    with pytest.raises(AudioRejected) as there, reader.read(uri, token):
        pass
    assert there.value.reason == here.value.reason == "gone"
    assert str(there.value) == str(here.value)


def test_the_limit_and_the_allow_list_of_the_settings_hold(s3: S3Bucket, settings: Settings) -> None:
    small = settings.model_copy(update={"max_bytes": 4})
    with closing(Reader(small)) as reader:
        with pytest.raises(AudioRejected, match="too_large"), reader.read(*put(s3, small, "a.wav", b"12345")):
            pass
        outside = s3.put("secret/a.wav", b"1")
        with pytest.raises(StorageRefused, match="may not be read"), reader.read(outside, "version:null"):
            pass


@pytest.mark.parametrize(
    "error",
    [
        AudioRejected("gone", "it is"),
        StorageDenied("no"),
        answer("SlowDown", 503),
    ],
)
def test_an_error_crosses_as_it_is(error: Exception) -> None:
    crossed = pickle.loads(_pickled(error))
    assert type(crossed) is type(error)
    assert str(crossed) == str(error)
    assert is_transient(crossed) == is_transient(error)


def test_an_error_that_cannot_cross_is_as_worth_another_try() -> None:
    held = lambda: None  # noqa: E731  no function without a name can be pickled
    passing = pickle.loads(_pickled(ReadTimeoutError(endpoint_url="http://store", error=held)))
    lasting = pickle.loads(_pickled(ValueError(held)))
    assert is_transient(passing)
    assert not is_transient(lasting)
    assert "ReadTimeoutError" in str(passing)
    assert "ValueError" in str(lasting)


def test_many_threads_read_at_once_and_leave_no_file_open(
    s3: S3Bucket, settings: Settings, reader: Reader
) -> None:
    objects = [put(s3, settings, f"{n}.wav", bytes([n]) * n) for n in range(40)]

    def size(place: tuple[str, str]) -> int:
        with reader.read(*place) as fetched:
            return len(fetched.path.read_bytes())

    size(objects[0])
    gc.collect()  # files that nobody holds any more could be closed in between
    ours = nameless_files("self")
    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(size, objects)) == list(range(40))
    assert eventually(lambda: (nameless_files("self"), nameless_files(child(reader))) == (ours, 0))
    with reader.read(*objects[0]):
        assert nameless_files("self") == ours + 1


def test_a_child_that_is_killed_is_worth_another_try_and_the_next_read_has_another(
    s3: S3Bucket, settings: Settings, reader: Reader
) -> None:
    place = put(s3, settings, "a.wav", b"bytes")
    with reader.read(*place):
        pass
    os.kill(child(reader), signal.SIGSTOP)
    with ThreadPoolExecutor(1) as thread:
        waiting = thread.submit(reader.read(*place).__enter__)
        time.sleep(0.2)
        os.kill(child(reader), signal.SIGKILL)
        with pytest.raises(ChildProcessError, match=r"a\.wav"):
            waiting.result()
    with reader.read(*place) as fetched:
        assert fetched.path.read_bytes() == b"bytes"


class DyingChild(_Child):
    """One that has closed the answers it owes, and not yet the socket on which it is asked."""

    def takes(self, wanted: bytes, answer: socket.socket) -> bool:
        return True


def test_a_child_that_is_still_dying_is_not_asked_again(
    s3: S3Bucket, settings: Settings, reader: Reader
) -> None:
    place = put(s3, settings, "a.wav", b"bytes")
    reader._child = DyingChild(settings)
    with pytest.raises(ChildProcessError, match=r"a\.wav"):
        reader.read(*place).__enter__()
    with reader.read(*place) as fetched:
        assert fetched.path.read_bytes() == b"bytes"


def test_a_child_that_hangs_is_ended_at_the_objects_deadline_and_the_next_read_has_another(
    s3: S3Bucket, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.pipeline.storage.s3.process._GRACE_SECONDS", 0)
    place = put(s3, settings, "a.wav", b"bytes")
    hurried = settings.model_copy(update={"download_timeout": 5.0})
    with closing(Reader(hurried)) as reader:
        with reader.read(*place, size=5):
            pid = child(reader)
        reader._settings = settings.model_copy(update={"download_timeout": 0.5})
        os.kill(pid, signal.SIGSTOP)
        with pytest.raises(TimeoutError, match=r"a\.wav.*WORDWAVE_DOWNLOAD_TIMEOUT") as caught:
            reader.read(*place, size=5).__enter__()
        assert is_transient(caught.value)
        assert is_gone(pid)
        reader._settings = hurried
        with reader.read(*place, size=5) as fetched:
            assert fetched.path.read_bytes() == b"bytes"


class Dripping(BaseHTTPRequestHandler):
    """Promises an object and sends a byte of it now and then, so that no wait for bytes is long."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.send_header("ETag", '"e"')
        self.end_headers()
        with suppress(ConnectionError):
            while not self.server.stopped.wait(0.05):  # type: ignore[attr-defined]
                self.wfile.write(b".")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def dripping_store() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Dripping) as server:
        server.stopped = Event()  # type: ignore[attr-defined]
        Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.stopped.set()  # type: ignore[attr-defined]
        server.shutdown()


def test_an_object_that_drips_is_left_at_its_deadline_and_its_child_lives(
    s3: S3Bucket, settings: Settings, dripping_store: str
) -> None:
    slow = settings.model_copy(update={"s3_endpoint_url": dripping_store, "download_timeout": 0.5})
    with closing(Reader(slow)) as reader:
        for _ in range(2):
            with pytest.raises(TimeoutError, match=r"a\.wav.*WORDWAVE_DOWNLOAD_TIMEOUT") as caught:
                reader.read(f"{s3.uri}/clips/a.wav", "version:1", size=100_000).__enter__()
            assert is_transient(caught.value)
        os.kill(child(reader), 0)


def test_an_object_that_drips_is_left_in_this_process_too(
    s3: S3Bucket, settings: Settings, dripping_store: str
) -> None:
    slow = settings.model_copy(update={"s3_endpoint_url": dripping_store, "download_timeout": 0.5})
    with pytest.raises(TimeoutError, match=r"a\.wav"):
        open_storage(s3.uri, slow).read(f"{s3.uri}/clips/a.wav", "version:1", size=100_000).__enter__()


def test_a_deadline_grows_with_the_object_up_to_the_largest() -> None:
    settings = Settings(download_timeout=10, min_download_rate=100, max_bytes=5_000)
    assert [settings.download_seconds(size) for size in (0, 200, 5_000, 10**9)] == [10, 12, 60, 60]
    assert settings.download_seconds(None) == 60


def test_closing_ends_the_child(s3: S3Bucket, settings: Settings, reader: Reader) -> None:
    with reader.read(*put(s3, settings, "a.wav", b"bytes")):
        pid = child(reader)
    reader.close()
    assert is_gone(pid)


def test_the_child_ends_with_its_parent_however_that_dies(s3: S3Bucket, settings: Settings) -> None:
    program = (
        "import os, sys; from flows.pipeline.configuration.settings import Settings; "
        "from flows.pipeline.storage.s3.process import Reader\n"
        "reader = Reader(Settings(home=sys.argv[1], storage_uri=sys.argv[2], read_roots=(sys.argv[2],)))\n"
        "with reader.read(*sys.argv[3:]): print(reader._child._process.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)"
    )
    places = [str(settings.home), s3.uri, *put(s3, settings, "a.wav", b"bytes")]
    died = subprocess.run([sys.executable, "-c", program, *places], capture_output=True, text=True)
    assert died.returncode == -signal.SIGKILL
    assert is_gone(int(died.stdout))
