"""What is downloaded is what was listed, whatever stands between us and the store."""

import hashlib
import threading
from collections import deque
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from core.errors import AudioRejected
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import (
    CredentialsRejected,
    DamagedTransfer,
    Storage,
    StorageDenied,
    is_transient,
    open_storage,
)

DATA = b"the bytes that were listed"
URI = "s3://bucket/a.wav"
VERSION = "version:7"


def md5_etag(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'


ETAG = f"etag:{md5_etag(DATA)}:{len(DATA)}:0"


class Answer:
    """One answer to a GET; by default the object as it was stored."""

    def __init__(self, body: bytes = DATA, status: int = 200, **headers: str | None) -> None:
        self.body, self.status = body, status
        usual = {"ETag": md5_etag(DATA), "Content-Length": str(len(body))}
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.headers = {name: value for name, value in (usual | named).items() if value is not None}


def error(status: int, code: str) -> Answer:
    return Answer(f"<Error><Code>{code}</Code></Error>".encode(), status)


class Scripted(ThreadingHTTPServer):
    """Gives the answers of a test one after another, the last one for ever."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers = deque([Answer()])
        self.gets = 0
        self.put_etag = ""


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Scripted

    def log_message(self, *args: object) -> None:
        pass

    def send(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def do_GET(self) -> None:
        self.server.gets += 1
        answers = self.server.answers
        self.send(answers.popleft() if len(answers) > 1 else answers[0])

    def do_PUT(self) -> None:
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.send(Answer(b"", ETag=self.server.put_etag or md5_etag(data)))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scripted]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    server = Scripted()
    threading.Thread(target=server.serve_forever, args=(0.01,)).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def storage(server: Scripted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Storage:
    monkeypatch.setattr("flows.pipeline.storage.s3.download.PAUSES_SECONDS", (1e-3, 2e-3))
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    results = "s3://bucket/results"
    settings = Settings(
        home=tmp_path, storage_uri=results, read_roots=("s3://bucket",), s3_endpoint_url=endpoint
    )
    return open_storage(results, settings)


def read(storage: Storage, token: str = ETAG, size: int | None = len(DATA)) -> bytes:
    with storage.read(URI, token, size) as fetched:
        assert fetched.sha256 == hashlib.sha256(fetched.path.read_bytes()).digest()
        return fetched.path.read_bytes()


FLIPPED = bytes([DATA[0] ^ 1]) + DATA[1:]
PAGE = b"<html><body>please log in</body></html>"
DAMAGES = {
    "half": Answer(DATA[: len(DATA) // 2]),
    "longer": Answer(DATA * 2),
    "empty": Answer(b""),
    "flipped": Answer(FLIPPED),
    "a proxy's page": Answer(PAGE, ETag=None),
    "a proxy's page of the same size": Answer(PAGE[: len(DATA)], ETag=None),
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("token", [ETAG, VERSION])
def test_a_damaged_body_is_read_again(server: Scripted, storage: Storage, damage: str, token: str) -> None:
    server.answers = deque([DAMAGES[damage], DAMAGES[damage], Answer()])
    assert read(storage, token) == DATA
    assert server.gets == 3


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("token", [ETAG, VERSION])
def test_a_body_that_stays_damaged_is_no_clips_fault(
    server: Scripted, storage: Storage, damage: str, token: str
) -> None:
    server.answers = deque([DAMAGES[damage]])
    with pytest.raises(DamagedTransfer) as raised:
        read(storage, token)
    assert is_transient(raised.value)
    assert URI in str(raised.value)


def test_a_token_with_an_etag_holds_the_size_by_itself(server: Scripted, storage: Storage) -> None:
    server.answers = deque([Answer(DATA[:-1])])
    with pytest.raises(DamagedTransfer, match="25 bytes, 26 were listed"):
        read(storage, ETAG, size=None)


@pytest.mark.parametrize(
    "answer",
    [
        Answer(ETag=f'{md5_etag(b"a part")[:-1]}-2"'),
        Answer(ETag='"of-its-own-kind"'),
        Answer(ETag=md5_etag(b"x"), x_amz_server_side_encryption="aws:kms"),
        Answer(ETag=md5_etag(b"x"), x_amz_server_side_encryption="aws:kms:dsse"),
        Answer(ETag=md5_etag(b"x"), x_amz_server_side_encryption_customer_algorithm="AES256"),
    ],
)
def test_an_etag_that_is_no_md5_is_not_held_against_the_bytes(
    server: Scripted, storage: Storage, answer: Answer
) -> None:
    server.answers = deque([answer])
    assert read(storage, VERSION) == DATA


def test_a_store_whose_etags_only_look_like_md5s_is_found_out_once(
    server: Scripted, storage: Storage
) -> None:
    server.answers = deque([Answer(ETag=md5_etag(b"a salted digest"))])
    server.put_etag = md5_etag(b"another salted digest")
    assert read(storage, VERSION) == DATA
    assert server.gets == 4
    assert read(storage, VERSION) == DATA
    assert server.gets == 5


def test_where_results_are_local_an_etag_like_an_md5_is_one(
    server: Scripted, storage: Storage, tmp_path: Path
) -> None:
    server.answers = deque([Answer(FLIPPED)])
    endpoint = f"http://127.0.0.1:{server.server_address[1]}"
    settings = Settings(home=tmp_path, read_roots=("s3://bucket",), s3_endpoint_url=endpoint)
    with pytest.raises(DamagedTransfer, match="MD5"):
        read(open_storage("s3://bucket", settings))


PASSING = {
    "gone": [error(404, "NoSuchKey"), error(412, "PreconditionFailed"), Answer()],
    "another etag": [Answer(FLIPPED, ETag=md5_etag(FLIPPED)), Answer()],
    "denied": [error(403, "AccessDenied"), error(403, "AccessDenied"), Answer()],
    "a clock that is off": [error(403, "RequestTimeTooSkewed"), Answer()],
    "a key that is not known yet": [error(403, "InvalidAccessKeyId"), Answer()],
}


@pytest.mark.parametrize("answers", PASSING)
def test_an_answer_that_passes_costs_no_clip(server: Scripted, storage: Storage, answers: str) -> None:
    server.answers = deque(PASSING[answers])
    assert read(storage) == DATA


@pytest.mark.parametrize("status", [404, 412])
def test_an_object_that_stays_away_is_gone(server: Scripted, storage: Storage, status: int) -> None:
    server.answers = deque([error(status, "NoSuchKey")])
    with pytest.raises(AudioRejected) as raised:
        read(storage)
    assert raised.value.reason == "gone"


def test_another_version_than_asked_for_is_gone(server: Scripted, storage: Storage) -> None:
    server.answers = deque([Answer(x_amz_version_id="8")])
    with pytest.raises(AudioRejected, match="gone"):
        read(storage, VERSION)


@pytest.mark.parametrize(
    "code", ["RequestTimeTooSkewed", "InvalidAccessKeyId", "SignatureDoesNotMatch", "AccountProblem", ""]
)
def test_refused_credentials_are_no_clips_fault(server: Scripted, storage: Storage, code: str) -> None:
    server.answers = deque([error(403, code)])
    with pytest.raises(CredentialsRejected, match=r"clock of this machine") as raised:
        read(storage)
    assert "testing" not in str(raised.value)


def test_a_denied_object_is_told_from_refused_credentials(server: Scripted, storage: Storage) -> None:
    server.answers = deque([error(403, "AccessDenied")])
    with pytest.raises(StorageDenied, match="GetObject was denied"):
        read(storage)
