"""Private copies of objects, kept for a while, since a player asks for a sound in parts."""

import os
import weakref
from collections.abc import Callable
from functools import lru_cache
from threading import Lock

from cachetools import LRUCache

from db.object_version import ObjectVersion
from flows.pipeline.configuration.settings import Settings
from flows.pipeline.storage import Fetched, Storage, open_storage
from flows.pipeline.storage.uris import is_s3

MAX_CACHED_BYTES = 512 * 1024**2


class ObjectChanged(LookupError):
    """The object is no longer there, or has other bytes than were labeled."""


class Copy:
    """The bytes of an object: a descriptor that is closed when nobody holds the copy any more.

    A player may still read a copy that is no longer kept for others.
    """

    def __init__(self, descriptor: int, size: int) -> None:
        self.descriptor, self.size = descriptor, size
        weakref.finalize(self, os.close, descriptor)

    @property
    def path(self) -> str:
        """A path that opens the bytes from their start, while the copy is held."""
        return f"/proc/self/fd/{self.descriptor}"


class Copies:
    """Copies of objects by address and version. Methods may be called from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._kept: LRUCache[tuple[str, str], tuple[Copy, bytes]] = LRUCache(
            MAX_CACHED_BYTES, getsizeof=lambda kept: kept[0].size
        )
        self._lock = Lock()
        self._s3: Callable[[], Storage] = lru_cache(1)(
            lambda: open_storage(
                settings.storage_uri if is_s3(settings.storage_uri) else "s3://any", settings
            )
        )

    def get(self, uri: str, sha256: bytes | None) -> Copy:
        """Return a copy of an object whose digest is `sha256`; without one, whatever it is now.

        The store is asked each time, so that a change is noticed. Raises ObjectChanged, StorageError for a
        place that may not be read, and AudioRejected for an object that is too large.
        """
        storage = self._storage(uri)
        version = storage.find(uri)
        if version is None:
            raise ObjectChanged("The object is no longer in its place.")
        copy, digest = self._copy(storage, version)
        if sha256 not in (None, digest):
            raise ObjectChanged("The object's bytes have changed since it was read: they are others now.")
        return copy

    def _storage(self, uri: str) -> Storage:
        return self._s3() if is_s3(uri) else open_storage(uri, self._settings)

    def _copy(self, storage: Storage, version: ObjectVersion) -> tuple[Copy, bytes]:
        key = version.uri, version.version_token
        with self._lock:
            if kept := self._kept.get(key):
                return kept
        with storage.read(version.uri, version.version_token, version.size) as fetched:
            copy = _held(fetched), fetched.sha256
        with self._lock:
            if copy[0].size <= MAX_CACHED_BYTES:
                self._kept[key] = copy
        return copy


def _held(fetched: Fetched) -> Copy:
    """Return the copy under a descriptor of its own, which outlives the one that made it."""
    return Copy(os.open(fetched.path, os.O_RDONLY | os.O_CLOEXEC), fetched.size)
