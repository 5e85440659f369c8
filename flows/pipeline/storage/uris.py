"""Canonical URIs of places and objects, one per object, on both kinds of storage.

`s3://bucket/key` holds the key verbatim: keys are opaque, so quoting would give one key two names.
`file:///path` is percent-encoded byte by byte, since a Linux name is any bytes; order and uniqueness survive.
"""

import os
import re
from pathlib import Path
from urllib.parse import quote_from_bytes, unquote_to_bytes, urlsplit

from flows.pipeline.storage.interface import StorageRefused

S3 = "s3://"
FILE = "file://"
_BUCKET = re.compile(r"[A-Za-z0-9._-]{3,255}")
_LOOPBACK = re.compile(r"localhost|127(\.[0-9]+){3}|::1")
_OWN_KEY = re.compile(r"[A-Za-z0-9=@_-][A-Za-z0-9=@._%-]*(/[A-Za-z0-9=@_-][A-Za-z0-9=@._%-]*)*")


def is_s3(place: str) -> bool:
    return place.startswith(S3)


def is_loopback(address: str) -> bool:
    """Return whether a URL is of a server on this machine."""
    return bool(_LOOPBACK.fullmatch(urlsplit(address).hostname or ""))


def split_s3(uri: str) -> tuple[str, str]:
    """Return bucket and key, which may be empty, of s3://bucket/key. Raises StorageRefused for other URIs."""
    bucket, _, key = uri.removeprefix(S3).partition("/")
    if not is_s3(uri) or not _BUCKET.fullmatch(bucket):
        raise StorageRefused(f"{uri!r} is not a place: write s3://bucket/folder, with a plain bucket name")
    return bucket, key


def file_uri(path: str | Path) -> str:
    """Return the URI of an absolute path, without resolving it."""
    return FILE + quote_from_bytes(os.fsencode(path))


def file_path(uri: str) -> Path:
    """Return the path of a file:// URI. Raises StorageRefused for other URIs and for zero bytes."""
    encoded = uri.removeprefix(FILE)
    name = unquote_to_bytes(encoded)
    if not uri.startswith(FILE + "/") or b"\0" in name:
        raise StorageRefused(f"{uri!r} is not a local file: write file:///folder/name or a plain path")
    return Path(os.fsdecode(name))


def canonical(place: str) -> str:
    """Return the one URI of a place that people may write in several ways, without a slash at its end.

    Local paths may be relative or start with ~, and symbolic links are resolved. Raises StorageRefused for
    other schemes, and for S3 places whose folder name is ".", ".." or empty.
    """
    if is_s3(place):
        _, key = split_s3(place)
        if has_dot_segment(key):
            raise StorageRefused(f'{place!r} has "." or ".." as a folder: name the place itself')
        if key.endswith("//"):
            raise StorageRefused(f"{place!r} ends in a folder without a name: name the folder itself")
        return place.removesuffix("/")
    if place.startswith(FILE):
        place = str(file_path(place))
    elif "://" in place or not place or "\0" in place:
        raise StorageRefused(f"{place!r} is not a place: only s3:// and local folders are read or written")
    return file_uri(os.path.realpath(os.path.expanduser(place)))


def below(place: str) -> str:
    """Return the prefix that the URIs of all objects below a canonical place, and no others, have."""
    return place if place == FILE + "/" else place + "/"


def has_dot_segment(key: str) -> bool:
    """Return whether a gateway that keeps objects as files might confuse the key with another one."""
    return any(segment in {".", ".."} for segment in key.split("/"))


def within(uri: str, root: str) -> bool:
    """Return whether a canonical URI is `root` or below it: s3://a/bc is not below s3://a/b."""
    return uri == root or uri.startswith(below(root))


def own_key(key: str) -> str:
    """Return a key that we write. Raises ValueError unless it is plain names joined by slashes."""
    if not _OWN_KEY.fullmatch(key):
        raise ValueError(f"{key!r} is not a key: use letters, digits and = @ . _ % -, joined by slashes")
    return key
