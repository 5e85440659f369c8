"""What every storage does, and what can go wrong with it.

StorageError
├── StorageRefused   a place outside the allow-list, or not a place at all
├── StorageMissing   a bucket or a root folder that is not there: nothing may be concluded from its absence
├── StorageDenied    the store's policy or a file's mode does not let us in, here at least
├── CredentialsRejected  the store does not accept our key, signature or clock: no object's fault
└── NothingRead      no object arrives whole and in time, however often it is asked for
DamagedTransfer is none of them: another try may give what the store promised.
A single object that cannot be used is no StorageError: it is core.errors.AudioRejected, one clip's row.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from db.object_version import ObjectVersion


class StorageError(Exception):
    """Root of what storage raises on purpose; none of it gets better by trying again."""


class StorageRefused(StorageError):
    """A place that the allow-list does not hold."""


class StorageMissing(StorageError):
    """A bucket or root folder that does not exist (or is not mounted)."""


class StorageDenied(StorageError):
    """Access denied by the store itself, to one object or to all."""


class CredentialsRejected(StorageError):
    """Credentials, signature or clock that the store does not accept, whatever is asked for."""


class NothingRead(StorageError):
    """No object of a batch arrived whole and in time, in several tries."""


class DamagedTransfer(ConnectionError):
    """An answer that is not what the store promised: other bytes than listed, or a page that is none."""


@dataclass(frozen=True)
class Fetched:
    """A private copy of an object's bytes, for as long as the `with` block that made it."""

    path: Path
    sha256: bytes
    size: int


@dataclass(frozen=True)
class Stored:
    """An object that was written, or that is there."""

    uri: str
    sha256: bytes
    size: int


class Readable(Protocol):
    """Where objects are read. Methods may be called from several threads."""

    def read(self, uri: str, version_token: str, size: int | None = None) -> AbstractContextManager[Fetched]:
        """Return a private copy of exactly the listed bytes, hashed on the way.

        `size` is what the listing says, which not every version token holds. Raises AudioRejected `gone`
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
        """The object of that name, then all below the folder of that name, in the order of their URIs.

        Each URI is canonical(place), or starts with it and a slash. A place that is not there lists nothing.
        Raises StorageRefused, StorageMissing, StorageDenied.
        """
        ...

    def find(self, uri: str) -> ObjectVersion | None:
        """The object of that name alone, None where there is none; raises as list."""
        ...

    def write(self, key: str, data: bytes | Path) -> Stored:
        """Put bytes or a file under `key` (relative to where the store was opened), whole or not at all."""
        ...

    def ignored(self, key: str) -> Sequence[str]:
        """Return what the store takes no notice of when an object that is there is put again.

        That is If-None-Match, and checksums that are not of the bytes. The object may be another afterwards.
        """
        ...

    def describe(self, uri: str) -> Stored | None:
        """Return size and SHA-256 of an object, None where it is not there; raises as list.

        It is read only where the store keeps no checksum of it.
        """
        ...
