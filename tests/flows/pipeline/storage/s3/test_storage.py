"""What only S3, its many imitations and the network between can do to us."""

import base64
import hashlib
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import IncompleteReadError

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import Storage, StorageDenied, StorageRefused, open_storage
from tests.e2e.s3_log import recorded
from tests.fixtures_s3 import S3Bucket


def opened(s3: S3Bucket, home: Path, *read_roots: str) -> Storage:
    results = f"{s3.uri}/results"
    settings = Settings(home=home, storage_uri=results, read_roots=read_roots or (s3.uri,))
    return open_storage(results, settings)


def put_inside(bucket: str, key: str, data: bytes) -> None:
    """Put an object past HTTP, where moto's routes know no newline and thousands would take long."""
    from moto.s3.models import s3_backends

    s3_backends["123456789012"]["aws"].put_object(bucket, key, data)


def keep_versions(s3: S3Bucket, status: str = "Enabled") -> None:
    s3.client.put_bucket_versioning(Bucket=s3.bucket, VersioningConfiguration={"Status": status})  # type: ignore[typeddict-item]


@pytest.mark.parametrize("versioned", [False, True])
def test_a_listing_of_many_pages_has_each_object_once_and_in_order(
    s3: S3Bucket, tmp_path: Path, versioned: bool
) -> None:
    if versioned:
        keep_versions(s3)
    for number in range(1250):
        put_inside(s3.bucket, f"day/{number:04}.wav", b"")
    put_inside(s3.bucket, "day-old/x.wav", b"")
    uris = [clip.uri for clip in opened(s3, tmp_path).list(f"{s3.uri}/day")]
    assert uris == [f"{s3.uri}/day/{number:04}.wav" for number in range(1250)]


def test_keys_with_newlines_are_listed_verbatim_and_those_with_a_zero_byte_left_out(
    s3: S3Bucket, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ["new\nline.wav", "zero\0byte.wav"]:
        put_inside(s3.bucket, key, b"")
    assert [clip.uri for clip in opened(s3, tmp_path).list(s3.uri)] == [f"{s3.uri}/new\nline.wav"]
    assert "zero" in caplog.text


def test_keys_that_stand_for_folders_are_no_clips(s3: S3Bucket, tmp_path: Path) -> None:
    for key in ["day/", "day/a.wav", "day/empty/"]:
        s3.put(key, b"")
    assert [clip.uri for clip in opened(s3, tmp_path).list(s3.uri)] == [f"{s3.uri}/day/a.wav"]


def test_a_key_with_dots_for_a_folder_costs_its_clip_only(s3: S3Bucket, tmp_path: Path) -> None:
    s3.put("a/../b.wav", b"x")
    storage = opened(s3, tmp_path)
    (clip,) = storage.list(s3.uri)
    with pytest.raises(AudioRejected) as error, storage.read(clip.uri, clip.version_token):
        pass
    assert error.value.reason == "unsupported"


def test_a_version_is_read_even_after_a_newer_one_and_after_deletion(s3: S3Bucket, tmp_path: Path) -> None:
    keep_versions(s3)
    storage = opened(s3, tmp_path)
    s3.put("a.wav", b"one")
    (first,) = storage.list(s3.uri)
    assert first.version_token.startswith("version:")
    s3.put("a.wav", b"one")  # equal bytes are another version all the same
    (second,) = storage.list(s3.uri)
    assert second.version_token != first.version_token
    s3.client.delete_object(Bucket=s3.bucket, Key="a.wav")
    assert list(storage.list(s3.uri)) == []
    with storage.read(first.uri, first.version_token) as fetched:
        assert fetched.sha256 == hashlib.sha256(b"one").digest()


def test_an_object_older_than_the_versions_of_its_bucket_is_known_by_its_etag(
    s3: S3Bucket, tmp_path: Path
) -> None:
    s3.put("a.wav", b"one")
    storage = opened(s3, tmp_path)
    (before,) = storage.list(s3.uri)
    keep_versions(s3)
    (after,) = storage.list(s3.uri)
    assert before == after
    assert after.version_token.startswith("etag:")
    with storage.read(after.uri, after.version_token) as fetched:
        assert fetched.size == 3


def test_a_version_that_is_gone_is_gone(s3: S3Bucket, tmp_path: Path) -> None:
    keep_versions(s3)
    s3.put("a.wav", b"one")
    storage = opened(s3, tmp_path)
    (clip,) = storage.list(s3.uri)
    version = clip.version_token.removeprefix("version:")
    s3.client.delete_object(Bucket=s3.bucket, Key="a.wav", VersionId=version)
    with pytest.raises(AudioRejected, match="gone"), storage.read(clip.uri, clip.version_token):
        pass


def test_another_bucket_and_a_longer_folder_name_are_refused(s3: S3Bucket, tmp_path: Path) -> None:
    storage = opened(s3, tmp_path, f"{s3.uri}/a/b")
    list(storage.list(f"{s3.uri}/a/b/c"))
    for place in [f"{s3.uri}/a/bc", f"{s3.uri}/a", f"{s3.uri}x/a/b", s3.uri, "s3://a"]:
        with pytest.raises(StorageRefused):
            storage.list(place)


class Imitation(ThreadingHTTPServer):
    """A store with faults: in memory, one bucket of any name, only the requests that we make."""

    def __init__(self, **faults: Any) -> None:
        super().__init__(("127.0.0.1", 0), ImitationHandler)
        self.objects: dict[str, bytes] = {}
        self.requests: list[str] = []
        self.checksums: list[str] = []
        self.refuses_conditions = faults.get("refuses_conditions", False)
        self.ignores_conditions = faults.get("ignores_conditions", False)
        self.broken_bodies = faults.get("broken_bodies", 0)
        self.claimed_size = faults.get("claimed_size", 8)
        self.get_error = faults.get("get_error")
        self.checks_checksums = faults.get("checks_checksums", False)


class ImitationHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Imitation

    def log_message(self, *args: object) -> None:
        pass

    def answer(self, status: int, body: bytes = b"", code: str = "", **headers: str) -> None:
        if code:
            body = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
        self.server.requests.append(f"{self.command} {status}")
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def do_GET(self) -> None:
        if self.server.get_error:
            self.answer(403, code=self.server.get_error)
        elif self.server.broken_bodies:
            self.server.broken_bodies -= 1
            self.answer(200, b"half", **{"Content-Length": str(self.server.claimed_size), "ETag": '"e"'})
            self.close_connection = True
        else:
            self.answer(200, self.server.objects[self.path], ETag='"e"')

    def do_HEAD(self) -> None:
        self.answer(200 if self.path in self.server.objects else 404)

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        conditional = "If-None-Match" in self.headers
        checksum = base64.b64encode(hashlib.sha256(data).digest()).decode()
        if self.server.checks_checksums and self.headers["x-amz-checksum-sha256"] not in {None, checksum}:
            self.answer(400, code="BadDigest")
            return
        if conditional and self.server.refuses_conditions:
            self.answer(501, code="NotImplemented")
        elif conditional and not self.server.ignores_conditions and self.path in self.server.objects:
            self.answer(412, code="PreconditionFailed")
        else:
            self.server.objects[self.path] = data
            self.server.checksums.append(self.headers["x-amz-checksum-sha256"])
            self.answer(200, ETag='"e"')


class Faulty:
    """Starts imitations with the faults of a test, and a storage on each."""

    def __init__(self, home: Path) -> None:
        self._home = home
        self._servers: list[Imitation] = []

    def __call__(self, **faults: Any) -> tuple[Storage, Imitation]:
        server = Imitation(**faults)
        self._servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,)).start()
        settings = Settings(
            home=self._home,
            storage_uri="s3://bucket/results",
            read_roots=("s3://bucket",),
            s3_endpoint_url=f"http://127.0.0.1:{server.server_port}",
        )
        return open_storage("s3://bucket/results", settings), server

    def stop(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()


@pytest.fixture
def faulty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faulty]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLEEXAMPLE00")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "very-secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    faults = Faulty(tmp_path)
    yield faults
    faults.stop()


def test_a_body_that_breaks_off_is_read_again_from_its_start(faulty: Faulty) -> None:
    storage, server = faulty(broken_bodies=2)
    server.objects["/bucket/a.wav"] = b"complete"
    with storage.read("s3://bucket/a.wav", 'etag:"e":8:0') as fetched:
        assert fetched.path.read_bytes() == b"complete"
        assert fetched.sha256 == hashlib.sha256(b"complete").digest()


def test_a_body_that_always_breaks_off_is_an_error_that_may_be_tried_later(faulty: Faulty) -> None:
    storage, server = faulty(broken_bodies=99)
    with pytest.raises(IncompleteReadError), storage.read("s3://bucket/a.wav", 'etag:"e":8:0'):
        pass
    assert server.requests == ["GET 200"] * 3


def test_other_bytes_from_a_store_that_ignores_conditions_are_gone(faulty: Faulty) -> None:
    storage, server = faulty()
    server.objects["/bucket/a.wav"] = b"changed"
    with pytest.raises(AudioRejected, match="gone"), storage.read("s3://bucket/a.wav", 'etag:"before":7:0'):
        pass


def test_denied_access_says_what_was_denied_and_no_secret(faulty: Faulty) -> None:
    storage, _ = faulty(get_error="AccessDenied")
    with pytest.raises(StorageDenied) as error, storage.read("s3://bucket/a.wav", 'etag:"e":8:0'):
        pass
    assert "GetObject" in str(error.value)
    assert "very-secret" not in str(error.value)
    assert "AKIA" not in str(error.value)


def test_an_archived_object_is_unreadable_and_says_to_restore_it(faulty: Faulty) -> None:
    storage, _ = faulty(get_error="InvalidObjectState")
    with (
        pytest.raises(AudioRejected, match="restore") as error,
        storage.read("s3://bucket/a.wav", "etag:x:1:0"),
    ):
        pass
    assert error.value.reason == "unreadable"


def test_a_role_that_may_not_ask_for_versioning_still_lists(faulty: Faulty) -> None:
    storage, server = faulty(get_error="AccessDenied")
    with pytest.raises(StorageDenied, match="ListObjectsV2"):
        list(storage.list("s3://bucket/a"))
    assert server.requests == ["GET 403", "GET 403"]


def test_each_object_is_sent_with_its_sha256(faulty: Faulty) -> None:
    storage, server = faulty()
    storage.write("a", b"x")
    assert server.checksums == [base64.b64encode(hashlib.sha256(b"x").digest()).decode()]


def test_a_result_larger_than_one_put_is_sent_in_parts(
    s3: S3Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("flows.pipeline.storage.s3.storage._MAX_PUT_BYTES", 6 * 2**20)
    monkeypatch.setattr("flows.pipeline.storage.s3.storage._PART_BYTES", 5 * 2**20)
    file, storage = tmp_path / "large", opened(s3, tmp_path)
    data = random.Random(0).randbytes(11 * 2**20)
    file.write_bytes(data)
    for large in (file, data):
        stored = storage.write("large", large)
        assert (stored.size, stored.sha256) == (len(data), hashlib.sha256(data).digest())
        found = storage.find(stored.uri)
        assert found
        assert '-3"' in found.version_token
        with storage.read(found.uri, found.version_token, found.size) as fetched:
            assert fetched.sha256 == stored.sha256
        assert storage.describe(stored.uri) == replace(stored)


def test_an_object_is_described_by_the_checksum_that_the_store_keeps(s3: S3Bucket, tmp_path: Path) -> None:
    storage = opened(s3, tmp_path)
    stored = storage.write("a.json", b"{}")
    with recorded() as requests:
        assert storage.describe(stored.uri) == replace(stored)
    assert [request.method for request in requests] == ["HEAD"]
    s3.put("results/a.json", b"[]")
    other = storage.describe(stored.uri)
    assert other
    assert other.sha256 == hashlib.sha256(b"[]").digest()


def test_an_object_without_a_checksum_is_read(faulty: Faulty) -> None:
    storage, server = faulty()
    stored = storage.write("a", b"x")
    assert storage.describe(stored.uri) == replace(stored)
    assert server.requests == ["PUT 200", "HEAD 200", "GET 200"]


@pytest.mark.parametrize(
    ("name", "kind", "disposition"),
    [
        ("page.html", "text/html; charset=utf-8", "inline"),
        ("a.json", "application/json", "inline"),
        ("a.jsonl", "application/x-ndjson", None),
        ("a.parquet", "application/vnd.apache.parquet", None),
        ("a.wav", "audio/wav", "inline"),
        ("a.flac", "audio/flac", "inline"),
        ("probe", "binary/octet-stream", None),
    ],
)
@pytest.mark.parametrize("largest_put", [5 * 2**30, 1])
def test_an_object_says_what_it_is(
    s3: S3Bucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    largest_put: int,
    name: str,
    kind: str,
    disposition: str | None,
) -> None:
    monkeypatch.setattr("flows.pipeline.storage.s3.storage._MAX_PUT_BYTES", largest_put)
    opened(s3, tmp_path).write(name, b"bytes")
    head = s3.client.head_object(Bucket=s3.bucket, Key=f"results/{name}")
    assert (head["ContentType"], head.get("ContentDisposition")) == (kind, disposition)


def test_a_store_is_asked_what_it_ignores(s3: S3Bucket, tmp_path: Path, faulty: Faulty) -> None:
    storage, server = faulty(ignores_conditions=True)
    assert storage.ignored("probe") == ["If-None-Match", "checksums"]
    assert server.requests == ["PUT 200"] * 2
    storage, _ = faulty(refuses_conditions=True, checks_checksums=True)
    assert storage.ignored("probe") == []
    storage, _ = faulty(checks_checksums=True)
    storage.write("probe", b"x")
    assert storage.ignored("probe") == []


def test_the_body_of_an_object_over_the_limit_is_not_waited_for(faulty: Faulty) -> None:
    storage, server = faulty(broken_bodies=99, claimed_size=2**50)
    with pytest.raises(AudioRejected, match="too_large"), storage.read("s3://bucket/a.wav", 'etag:"e":8:0'):
        pass
    assert server.requests == ["GET 200"]
