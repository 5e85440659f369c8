"""A real S3 protocol over real HTTP: moto's server in a thread, a bucket for each test."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


@dataclass(frozen=True)
class S3Bucket:
    """An empty bucket and a client for it; the environment leads boto3's own clients to the same server."""

    endpoint: str
    bucket: str
    client: "S3Client"

    @property
    def uri(self) -> str:
        return f"s3://{self.bucket}"

    def put(self, key: str, data: bytes) -> str:
        """Put an object, as someone outside the project would; its URI."""
        self.client.put_object(Bucket=self.bucket, Key=key, Body=data)
        return f"{self.uri}/{key}"

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()


@pytest.fixture(scope="session")
def s3_endpoint() -> Iterator[str]:
    """The address of a server that lives as long as the session."""
    from moto.server import ThreadedMotoServer  # a second that tests without S3 need not wait

    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # one line a request otherwise
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture(scope="session")
def s3_client(s3_endpoint: str) -> "S3Client":
    """The client of the world outside the project."""
    import boto3

    return boto3.client(
        "s3",
        endpoint_url=s3_endpoint,
        region_name="us-east-1",
        aws_access_key_id="outside",
        aws_secret_access_key="outside",
    )


@pytest.fixture
def s3(s3_endpoint: str, s3_client: "S3Client", monkeypatch: pytest.MonkeyPatch) -> S3Bucket:
    """A bucket of this test alone."""
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_ENDPOINT_URL_S3"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    bucket = f"test-{uuid4().hex[:12]}"
    s3_client.create_bucket(Bucket=bucket)
    return S3Bucket(s3_endpoint, bucket, s3_client)
