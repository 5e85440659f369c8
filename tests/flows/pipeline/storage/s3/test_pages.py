"""What answers a listing is a page of it, or nothing is concluded from it."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.exceptions import ClientError

from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import DamagedTransfer, Storage, is_transient, open_storage

VERSIONING = b"<VersioningConfiguration/>"
VERSIONED = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
OBJECT = (
    b"<Key>day/a.wav</Key><LastModified>2026-11-22T00:00:00.000Z</LastModified><ETag>&quot;e&quot;</ETag>"
    b"<Size>3</Size>"
)
OBJECTS = (
    b"<ListBucketResult><Name>bucket</Name><KeyCount>1</KeyCount><IsTruncated>false</IsTruncated>"
    b"<Contents>" + OBJECT + b"</Contents></ListBucketResult>"
)
VERSIONS = (
    b"<ListVersionsResult><Name>bucket</Name><IsTruncated>false</IsTruncated><Version><IsLatest>true</IsLatest>"
    b"<VersionId>7</VersionId>" + OBJECT + b"</Version></ListVersionsResult>"
)
FOREIGN = {
    "nothing": b"",
    "a page": b"<html><body>please log in</body></html>",
    "a page that is no XML": b"<!DOCTYPE html><p>please log in<br>",
    "JSON": b'{"error": "quota"}',
    "another answer": b"<ListAllMyBucketsResult/>",
}
OTHER_PAGES = {
    "of another bucket": OBJECTS.replace(b"<Name>bucket", b"<Name>other"),
    "without a bucket": b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>",
    "without an end": b"<ListBucketResult><Name>bucket</Name></ListBucketResult>",
    "without the next": OBJECTS.replace(b"false", b"true"),
}


class Listing(ThreadingHTTPServer):
    """Answers GetBucketVersioning and listings; the first answers to a listing may be others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.versioning, self.page = VERSIONING, OBJECTS
        self.first_pages: list[bytes] = []
        self.asked = 0


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Listing

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if "versioning" in parse_qs(urlsplit(self.path).query, keep_blank_values=True):
            body = self.server.versioning
        else:
            self.server.asked += 1
            body = self.server.first_pages.pop(0) if self.server.first_pages else self.server.page
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listing]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.0)
    server = Listing()
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def storage(server: Listing, tmp_path: Path) -> Storage:
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    settings = Settings(home=tmp_path, read_roots=("s3://bucket",), s3_endpoint_url=endpoint)
    return open_storage("s3://bucket", settings)


def tokens(storage: Storage) -> list[str]:
    return [listed.version_token.partition(":")[0] for listed in storage.list("s3://bucket/day")]


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("versioning", [VERSIONING, VERSIONED])
def test_a_foreign_answer_is_asked_for_again(
    server: Listing, storage: Storage, foreign: str, versioning: bytes
) -> None:
    server.versioning = versioning
    server.page = VERSIONS if versioning == VERSIONED else OBJECTS
    server.first_pages = [FOREIGN[foreign]] * 3
    assert tokens(storage) == ["version" if versioning == VERSIONED else "etag"]


@pytest.mark.parametrize("foreign", FOREIGN)
@pytest.mark.parametrize("versioning", [VERSIONING, VERSIONED])
def test_foreign_answers_alone_are_no_empty_place(
    server: Listing, storage: Storage, foreign: str, versioning: bytes
) -> None:
    server.versioning, server.page = versioning, FOREIGN[foreign]
    with pytest.raises(ClientError) as raised:
        tokens(storage)
    assert is_transient(raised.value)


@pytest.mark.parametrize("foreign", FOREIGN)
def test_a_foreign_answer_does_not_end_the_versions_of_a_bucket(
    server: Listing, storage: Storage, foreign: str
) -> None:
    server.versioning, server.page = FOREIGN[foreign], OBJECTS
    with pytest.raises(ClientError):
        tokens(storage)


@pytest.mark.parametrize("page", OTHER_PAGES)
def test_a_page_that_is_not_of_this_listing_is_an_error_that_may_pass(
    server: Listing, storage: Storage, page: str
) -> None:
    server.page = OTHER_PAGES[page]
    with pytest.raises(DamagedTransfer) as raised:
        tokens(storage)
    assert is_transient(raised.value)


def test_a_store_on_this_machine_is_asked_without_a_proxy(
    server: Listing, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    endpoint = f"http://localhost:{server.server_address[1]}"
    settings = Settings(home=tmp_path, read_roots=("s3://bucket",), s3_endpoint_url=endpoint)
    assert tokens(open_storage("s3://bucket", settings)) == ["etag"]
