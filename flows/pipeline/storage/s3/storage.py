"""S3 and compatible stores, through boto3.

The version token is the VersionId if the bucket keeps versions, since `list_object_versions` gives it for a
whole page of objects in one request; otherwise ETag, size and LastModified, which every listing has. An
object written before its bucket kept versions has the VersionId "null", which a later object may take over,
so its token is made of the ETag too.
"""

import base64
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from io import BytesIO
from itertools import chain, islice
from pathlib import Path
from tempfile import TemporaryFile
from threading import Lock
from typing import IO, TYPE_CHECKING, Any

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError

from core.errors import AudioRejected
from db.object_version import ObjectVersion
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.hashed_copy import sha256_of
from flows.pipeline.storage.interface import Fetched, Stored
from flows.pipeline.storage.media import media_headers
from flows.pipeline.storage.s3.client_error import DENIED, code_of, status_of, translated
from flows.pipeline.storage.s3.download import Wanted, WrongDigest, download, names_other_bytes
from flows.pipeline.storage.s3.pages import object_pages, refuse_foreign_answers, version_pages
from flows.pipeline.storage.uris import (
    below,
    canonical,
    has_dot_segment,
    is_loopback,
    is_s3,
    own_key,
    split_s3,
)

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import HeadObjectOutputTypeDef

_SESSION_LOCK = Lock()  # a client may be shared between threads, making one may not
_PAGE_SIZE = 1000
_PROBE_KEY = "doctor/etag-probe"
_MAX_PUT_BYTES = 5 * 2**30
_PART_BYTES = 64 * 2**20  # boto3 takes larger parts if an object would have over 10,000
_REFUSAL_STATUSES = {400, 409, 412, 501}
# Codes for a request or a header that a store does not know.
_UNKNOWN_CODES = {"NotImplemented", "MethodNotAllowed", "InvalidArgument", "InvalidRequest", "501", "405"}


def make_client(settings: Settings) -> "S3Client":
    """Make a client for all threads of this process, with limits on attempts and waits."""
    config = Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=10,
        read_timeout=60,
        max_pool_connections=settings.download_threads + 2,
        # We send our own SHA-256. Older stores refuse the checksum that boto3 adds by default.
        request_checksum_calculation="when_required",
    )
    with _SESSION_LOCK:
        client = _session().client("s3", endpoint_url=settings.s3_endpoint_url, config=config)
        if is_loopback(client.meta.endpoint_url):
            # HTTP_PROXY is for other machines; boto3 would ask the proxy for the proxy's own 127.0.0.1.
            direct = config.merge(Config(proxies={}))
            client = _session().client("s3", endpoint_url=settings.s3_endpoint_url, config=direct)
    refuse_foreign_answers(client)
    return client


@cache
def _session() -> boto3.session.Session:
    """Return the session of the process: the first client takes 0.1 s to make, each further one 3 ms."""
    return boto3.session.Session()


class S3Storage:
    """Objects of an S3 store."""

    def __init__(self, client: "S3Client", base: str, settings: Settings) -> None:
        self._client, self._base, self._settings = client, base, settings
        self._access, self._max_bytes = Access.of(settings), settings.max_bytes
        self._has_md5_etags = True

    def list(self, place: str) -> Iterator[ObjectVersion]:
        """List as Storage.list does."""
        place = canonical(place)
        self._access.root(place)
        return chain(self._named(place), self._starting_with(below(place), _PAGE_SIZE))

    def find(self, uri: str) -> ObjectVersion | None:
        """Find as Storage.find does."""
        self._access.root(uri)
        return next(self._named(uri), None)

    def _named(self, uri: str) -> Iterator[ObjectVersion]:
        """Yield the object itself if it exists: it comes first of all keys that start with its key."""
        first = islice(self._starting_with(uri, page_size=1), 1)
        return (listed for listed in first if listed.uri == uri)

    def _starting_with(self, prefix: str, page_size: int) -> Iterator[ObjectVersion]:
        bucket, key_prefix = split_s3(prefix)
        with translated(prefix):
            pages = version_pages if self._keeps_versions(bucket) else object_pages
            for page in pages(self._client, bucket, key_prefix, page_size):
                yield from page

    def _keeps_versions(self, bucket: str) -> bool:
        try:
            return "Status" in self._client.get_bucket_versioning(Bucket=bucket)
        except ClientError as error:
            if code_of(error) in _UNKNOWN_CODES | DENIED:
                return False
            raise

    @contextmanager
    def read(self, uri: str, version_token: str, size: int | None = None) -> Iterator[Fetched]:
        """Read as Storage.read does."""
        self._access.root(uri)
        _, key = split_s3(uri)
        if not key or has_dot_segment(key):
            raise AudioRejected("unsupported", f'{uri!r} has no name, or a folder named "." or ".."')
        with TemporaryFile() as file:
            with translated(uri):
                fetched = self._download(self._wanted(uri, version_token, size), file, self._max_bytes)
            yield fetched

    def _wanted(self, uri: str, version_token: str = "", size: int | None = None) -> Wanted:
        return Wanted(uri, self._settings.download_seconds(size), version_token, size)

    def _download(self, wanted: Wanted, file: IO[bytes], limit: int) -> Fetched:
        try:
            return download(self._client, wanted, file, limit, has_md5_etags=self._has_md5_etags)
        except WrongDigest:
            # Some gateways' digests only look like MD5s. An object of our own, whose MD5 we know, tells such
            # a gateway from a store or proxy that damages data.
            if self._gives_md5_etags():
                raise
            self._has_md5_etags = False
            return download(self._client, wanted, file, limit, has_md5_etags=False)

    def _gives_md5_etags(self) -> bool:
        """Return whether the store of our results gives MD5s as ETags; True if results are local."""
        if not is_s3(self._access.write_root):
            return True
        bucket, folder = split_s3(self._access.write_root)
        key = f"{folder}/{_PROBE_KEY}".removeprefix("/")
        body = _PROBE_KEY.encode()
        response = self._client.put_object(Bucket=bucket, Key=key, Body=body)
        return not names_other_bytes(response, hashlib.md5(body, usedforsecurity=False).hexdigest())

    def write(self, key: str, data: bytes | Path) -> Stored:
        """Write as Storage.write does."""
        with translated(self._uri(key)):
            return self._put(key, data)

    def delete(self, uri: str) -> None:
        """Delete as Storage.delete does."""
        self._access.check_write(uri)
        bucket, key = split_s3(uri)
        with translated(uri):
            self._client.delete_object(Bucket=bucket, Key=key)

    def describe(self, uri: str) -> Stored | None:
        """Describe as Storage.describe does."""
        self._access.root(uri)
        with translated(uri):
            if (head := self._head(uri)) is None:
                return None
            if digest := _whole_sha256(head):
                return Stored(uri, digest, head["ContentLength"])
            return self._describe_by_reading(uri)

    def _uri(self, key: str) -> str:
        return f"{self._base}/{own_key(key)}"

    def _put(self, key: str, data: bytes | Path) -> Stored:
        uri = self._uri(key)
        self._access.check_write(uri)
        bucket, full_key = split_s3(uri)
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        digest, media = sha256_of(data), media_headers(key)
        with BytesIO(data) if isinstance(data, bytes) else data.open("rb") as body:
            if size > _MAX_PUT_BYTES:
                # Each part has a checksum of its own; the object appears with the last part.
                parts = TransferConfig(multipart_threshold=_MAX_PUT_BYTES, multipart_chunksize=_PART_BYTES)
                self._client.upload_fileobj(
                    body, bucket, full_key, {"ChecksumAlgorithm": "SHA256", **media}, None, parts
                )
            else:
                checksum = {"ChecksumAlgorithm": "SHA256", "ChecksumSHA256": _base64(digest)}
                arguments: dict[str, Any] = {**checksum, **media}
                self._client.put_object(Bucket=bucket, Key=full_key, Body=body, **arguments)
        return Stored(uri, digest, size)

    def ignored(self, key: str) -> Sequence[str]:
        """Test the safeguards as Storage.ignored does."""
        probes = {
            "If-None-Match": {"IfNoneMatch": "*"},
            "checksums": {"ChecksumSHA256": _base64(sha256_of(b"other bytes"))},
        }
        with translated(self._uri(key)):
            return [name for name, arguments in probes.items() if self._accepts(key, arguments)]

    def _accepts(self, key: str, arguments: dict[str, Any]) -> bool:
        """Return whether the store accepts a PUT that it must refuse."""
        self._access.check_write(self._uri(key))
        bucket, full_key = split_s3(self._uri(key))
        try:
            self._client.put_object(Bucket=bucket, Key=full_key, Body=b"bytes", **arguments)
        except ClientError as error:
            if status_of(error) in _REFUSAL_STATUSES:
                return False
            raise
        return True

    def _head(self, uri: str) -> "HeadObjectOutputTypeDef | None":
        bucket, key = split_s3(uri)
        try:
            return self._client.head_object(Bucket=bucket, Key=key, ChecksumMode="ENABLED")
        except ClientError as error:
            if status_of(error) == 404:
                return None
            raise

    def _describe_by_reading(self, uri: str) -> Stored | None:
        """Read an object of which the store keeps no checksum, and hash it."""
        try:
            with TemporaryFile() as file:
                fetched = self._download(self._wanted(uri), file, sys.maxsize)
        except AudioRejected:
            return None  # deleted since the HEAD request, or archived
        return Stored(uri, fetched.sha256, fetched.size)


def _whole_sha256(head: Mapping[str, Any]) -> bytes | None:
    """Return the store's SHA-256 of all bytes, None for an object that was sent in parts."""
    if "-" in head.get("ETag", ""):
        return None  # some stores give a checksum of the parts' checksums
    try:
        digest = base64.b64decode(head.get("ChecksumSHA256", ""), validate=True)
    except ValueError:
        return None
    return digest if len(digest) == hashlib.sha256().digest_size else None


def _base64(digest: bytes) -> str:
    return base64.b64encode(digest).decode()
