"""Downloads of S3 objects, checked against the listed size and the ETag."""

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from time import sleep
from typing import IO, TYPE_CHECKING, Any

from botocore.exceptions import (
    ClientError,
    FlexibleChecksumError,
    IncompleteReadError,
    ReadTimeoutError,
    ResponseStreamingError,
)

from core.errors import AudioRejected
from flows.pipeline.storage.hashed_copy import CHUNK_BYTES, check_size, write_hashed
from flows.pipeline.storage.interface import DamagedTransfer, Fetched
from flows.pipeline.storage.s3.client_error import code_of, status_of
from flows.pipeline.storage.s3.deadline import ended_after
from flows.pipeline.storage.uris import split_s3

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import GetObjectOutputTypeDef

PAUSES_SECONDS = (0.1, 0.4)
"""Pauses before further attempts. boto3 repeats requests, but neither broken bodies nor 403, 404 and 412."""

_VERSION, _ETAG = "version:", "etag:"
_BROKEN = (
    DamagedTransfer,
    IncompleteReadError,
    ResponseStreamingError,
    ReadTimeoutError,
    FlexibleChecksumError,
)
_MD5 = re.compile(r'"?[0-9a-fA-F]{32}"?')
_KMS = {"aws:kms", "aws:kms:dsse"}


class WrongDigest(DamagedTransfer):
    """Bytes whose MD5 is not their ETag, which has the form of an MD5."""


@dataclass(frozen=True)
class Wanted:
    """An object to download, as it was listed. Without a token any version will do, without a size any size.

    `seconds` is the time limit of the transfer.
    """

    uri: str
    seconds: float
    version_token: str = ""
    size: int | None = None

    @property
    def condition(self) -> dict[str, Any]:
        """The arguments with which a GET returns the listed version or fails."""
        if self.version_token.startswith(_VERSION):
            return {"VersionId": self.version_token.removeprefix(_VERSION)}
        if self.version_token.startswith(_ETAG):
            return {"IfMatch": self.version_token.removeprefix(_ETAG).rsplit(":", 2)[0]}
        return {}

    @property
    def listed_size(self) -> int | None:
        """The listed size, which a token with an ETag holds too."""
        if self.size is None and self.version_token.startswith(_ETAG):
            return int(self.version_token.rsplit(":", 2)[1])
        return self.size


def version_token(version: str) -> str:
    """Return the token of an object that its bucket keeps under this VersionId."""
    return _VERSION + version


def etag_token(etag: str, size: int, modified: float) -> str:
    """Return the token of an object without a VersionId, made of what every listing has."""
    return f"{_ETAG}{etag}:{size}:{int(modified)}"


def download(
    client: "S3Client", wanted: Wanted, file: IO[bytes], limit: int, *, has_md5_etags: bool
) -> Fetched:
    """Download an object into `file`, in at most three attempts.

    Raises AudioRejected `gone`, `too_large` and `unreadable` (archived), DamagedTransfer, TimeoutError past
    its deadline, and ClientError.
    """
    for pause in PAUSES_SECONDS:
        try:
            return _download_once(client, wanted, file, limit, has_md5_etags=has_md5_etags)
        except Exception as error:
            if not _is_retryable(error):
                raise
        sleep(pause)
    return _download_once(client, wanted, file, limit, has_md5_etags=has_md5_etags)


def _is_retryable(error: Exception) -> bool:
    """Return whether another attempt may succeed: after a broken body, or a refusal that stores may lift."""
    if isinstance(error, AudioRejected):
        return error.reason == "gone"
    return isinstance(error, _BROKEN) or (isinstance(error, ClientError) and status_of(error) == 403)


def _download_once(
    client: "S3Client", wanted: Wanted, file: IO[bytes], limit: int, *, has_md5_etags: bool
) -> Fetched:
    response = _get(client, wanted)
    size, md5 = wanted.listed_size, hashlib.md5(usedforsecurity=False)
    with closing(response["Body"]) as body:
        _check_is_wanted(wanted, response)
        check_size(wanted.uri, response["ContentLength"], limit)
        _check_size_is(size, response["ContentLength"], wanted.uri)
        chunks = _hashed(body.iter_chunks(CHUNK_BYTES), md5)
        with ended_after(wanted.seconds, body, wanted.uri):
            fetched = write_hashed(chunks, file, wanted.uri, limit)
    _check_size_is(size, fetched.size, wanted.uri)
    if has_md5_etags and names_other_bytes(response, md5.hexdigest()):
        raise WrongDigest(f"{wanted.uri!r} came with MD5 {md5.hexdigest()}, its ETag is {response['ETag']}")
    return fetched


def _get(client: "S3Client", wanted: Wanted) -> "GetObjectOutputTypeDef":
    uri = wanted.uri
    bucket, key = split_s3(uri)
    try:
        return client.get_object(Bucket=bucket, Key=key, **wanted.condition)
    except ClientError as error:
        if code_of(error) == "InvalidObjectState":
            raise AudioRejected(
                "unreadable", f"{wanted.uri!r} is archived: restore it, then replay"
            ) from error
        if status_of(error) in {404, 412} and code_of(error) != "NoSuchBucket":
            raise AudioRejected("gone", f"{uri!r} is missing or changed ({code_of(error)})") from error
        raise


def _check_is_wanted(wanted: Wanted, response: "GetObjectOutputTypeDef") -> None:
    """Raise if this is not the listed version, since some stores ignore the condition, or not an object."""
    if not {"ETag", "ContentLength"} <= response.keys():
        raise DamagedTransfer(f"{wanted.uri!r} came without ETag or length: no object store answered")
    condition, etag = wanted.condition, response["ETag"]
    version = response.get("VersionId", condition.get("VersionId"))
    if condition.get("IfMatch", etag) != etag or condition.get("VersionId", version) != version:
        raise AudioRejected("gone", f"{wanted.uri!r} changed since it was listed")


def _check_size_is(listed: int | None, found: int, uri: str) -> None:
    if listed not in {None, found}:
        raise DamagedTransfer(f"{uri!r} came with {found} bytes, {listed} were listed")


def _hashed(chunks: Iterable[bytes], md5: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in chunks:
        md5.update(chunk)
        yield chunk


def names_other_bytes(response: Mapping[str, Any], md5: str) -> bool:
    """Return whether the ETag of a response has the form of an MD5, but is not that of these bytes.

    The ETag of an object sent in parts has another form. That of an encrypted object may have this form.
    """
    etag: str = response["ETag"]
    is_encrypted = response.get("ServerSideEncryption") in _KMS or "SSECustomerAlgorithm" in response
    return bool(_MD5.fullmatch(etag)) and not is_encrypted and etag.strip('"').lower() != md5
