"""Checked pages of an S3 listing: an empty response or a proxy's page is not an empty bucket."""

import logging
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from db.object_version import ObjectVersion
from flows.pipeline.storage.interface import DamagedTransfer
from flows.pipeline.storage.s3.download import etag_token, version_token
from flows.pipeline.storage.uris import S3

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef, ObjectVersionTypeDef

    _Entry = ObjectTypeDef | ObjectVersionTypeDef

log = logging.getLogger(__name__)
_NO_VERSION = "null"
_MAX_KEY_BYTES = 1024
_ROOTS = {
    "ListObjectsV2": re.compile(rb"<ListBucketResult\b"),
    "ListObjectVersions": re.compile(rb"<ListVersionsResult\b"),
    # S3 has the first, some other stores the second
    "GetBucketVersioning": re.compile(rb"<(VersioningConfiguration|GetBucketVersioning)"),
}
_FOREIGN = (
    b"<Error><Code>InternalError</Code><Message>the answer is not from an object store</Message></Error>"
)


def refuse_foreign_answers(client: "S3Client") -> None:
    """Let the client treat a 200 that is not a listing as a 500, and retry."""
    for operation in _ROOTS:
        client.meta.events.register(f"before-parse.s3.{operation}", _refuse_foreign)


def _refuse_foreign(operation_model: Any, response_dict: dict[str, Any], **_: Any) -> None:
    root = _ROOTS[operation_model.name]
    if response_dict["status_code"] == 200 and not root.search(response_dict["body"]):
        response_dict.update(status_code=500, body=_FOREIGN)


def object_pages(
    client: "S3Client", bucket: str, prefix: str, page_size: int
) -> Iterator[list[ObjectVersion]]:
    """List the objects of a bucket that keeps no versions."""
    pages = client.get_paginator("list_objects_v2").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}
    )
    for page in pages:
        _check(page, bucket, "NextContinuationToken")
        yield [_listed(bucket, entry) for entry in page.get("Contents", []) if _is_clip(entry)]


def version_pages(
    client: "S3Client", bucket: str, prefix: str, page_size: int
) -> Iterator[list[ObjectVersion]]:
    """List the newest version of each object."""
    pages = client.get_paginator("list_object_versions").paginate(
        Bucket=bucket, Prefix=prefix, PaginationConfig={"PageSize": page_size}
    )
    for page in pages:
        _check(page, bucket, "NextKeyMarker")
        latest = (entry for entry in page.get("Versions", []) if entry["IsLatest"])
        yield [_listed(bucket, entry) for entry in latest if _is_clip(entry)]


def _check(page: Mapping[str, Any], bucket: str, next_page: str) -> None:
    """Raise DamagedTransfer if a page is of another bucket, or does not say how the listing continues."""
    if page.get("Name") != bucket or "IsTruncated" not in page:
        raise DamagedTransfer(f"{S3}{bucket}: the response is not a page of its listing")
    if page["IsTruncated"] and not page.get(next_page):
        raise DamagedTransfer(f"{S3}{bucket}: a page of the listing is cut off and names no next page")


def _is_clip(entry: "_Entry") -> bool:
    key = entry["Key"]
    if "\0" in key:
        log.warning("skipped %r: the database cannot store a zero byte in a text", key)
        return False
    if len(key.encode()) > _MAX_KEY_BYTES:
        log.warning("skipped %r...: an S3 key has at most %d bytes", key[:100], _MAX_KEY_BYTES)
        return False
    return not key.endswith("/")  # consoles write such an object as a folder


def _listed(bucket: str, entry: "_Entry") -> ObjectVersion:
    """Return the version of an entry of either kind of page."""
    version = str(entry.get("VersionId", _NO_VERSION))
    modified = entry["LastModified"]
    token = version_token(version)
    if version == _NO_VERSION:
        token = etag_token(entry["ETag"], entry["Size"], modified.timestamp())
    return ObjectVersion(f"{S3}{bucket}/{entry['Key']}", token, entry["Size"], modified)
