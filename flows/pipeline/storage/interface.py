"""The interface of every storage, and its errors.

StorageError
├── StorageRefused   a place outside the allow-list, or not a place at all
├── StorageMissing   a bucket or root folder that does not exist, which says nothing about its clips
├── StorageDenied    the store's policy or a file's mode denies access to this object or to all
├── CredentialsRejected  the store rejects our key, signature or clock, whatever the object
└── NothingRead      no object of a batch arrives whole and in time, in several attempts
DamagedTransfer is not a StorageError: another attempt may get the promised bytes.
Neither is core.errors.AudioRejected, for a single object that cannot be used: it costs one clip's row.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from db.object_version import ObjectVersion


class StorageError(Exception):
    """Base class of storage errors. Trying again does not help."""


class StorageRefused(StorageError):
    """A place outside the allow-list."""


class StorageMissing(StorageError):
    """A bucket or root folder that does not exist (or is not mounted)."""


class StorageDenied(StorageError):
    """Access denied by the store itself, to one object or to all."""


class CredentialsRejected(StorageError):
    """Credentials, signature or clock that the store rejects for any request."""


class NothingRead(StorageError):
    """No object of a batch arrived whole and in time, in several attempts."""


class DamagedTransfer(ConnectionError):
    """A response that breaks the store's promise: other bytes than listed, or not a page of a listing."""


@dataclass(frozen=True)
class Fetched:
    """A private copy of an object's bytes, which lasts as long as the `with` block that made it."""

    path: Path
    sha256: bytes
    size: int


@dataclass(frozen=True)
class Stored:
    """An object in the store."""

    uri: str
    sha256: bytes
    size: int


class Readable(Protocol):
    """A reader of objects. Methods may be called from several threads."""

    def read(self, uri: str, version_token: str, size: int | None = None) -> AbstractContextManager[Fetched]:
        """Return a private copy of exactly the listed bytes, hashed on the way.

        `size` is the listed size, which not every version token holds. Raises AudioRejected `gone`
        (missing, or no longer that version) and `too_large`, StorageRefused, StorageDenied,
        CredentialsRejected, and DamagedTransfer for other bytes than were listed.
        """
        ...


class Storage(Readable, Protocol):
    """A store opened at one place.

    Places are URIs: `s3://bucket/key` with the key verbatim, `file:///path` with the path percent-encoded.
    An equal version token means equal bytes: such an object need not be read again.
    """

    def list(self, place: str) -> Iterator[ObjectVersion]:
        """Yield the object of that name, then all objects below the folder of that name, in URI order.

        Each URI is canonical(place), or starts with it and a slash. Yields nothing for a place that does not
        exist. Raises StorageRefused, StorageMissing, StorageDenied.
        """
        ...

    def find(self, uri: str) -> ObjectVersion | None:
        """Return the object of that name, or None. Raises the errors of `list`."""
        ...

    def write(self, key: str, data: bytes | Path) -> Stored:
        """Write bytes or a file under `key`, relative to the opened place, whole or not at all."""
        ...

    def delete(self, uri: str) -> None:
        """Delete an object of the place for results, if it is there. Its former versions may stay.

        Raises StorageRefused for any other object: what brings clips is never changed.
        """
        ...

    def ignored(self, key: str) -> Sequence[str]:
        """Return the safeguards that the store ignores when it overwrites an object.

        These are If-None-Match, and checksums of other bytes. The test may overwrite the object.
        """
        ...

    def describe(self, uri: str) -> Stored | None:
        """Return size and SHA-256 of an object, or None. Raises the errors of `list`.

        The object is read only if the store keeps no checksum of it.
        """
        ...
