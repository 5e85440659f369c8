"""Local folders as a storage: what a laptop, a test or a mounted share has in the place of S3."""

import logging
import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from errno import EIO, EISDIR, ELOOP, ENOENT, ENOTDIR, errorcode
from io import FileIO
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO, cast
from urllib.parse import quote_from_bytes
from uuid import uuid4

from core.errors import AudioRejected
from db.object_version import UNLISTED, ObjectVersion
from flows.pipeline.storage.allow_list import Access
from flows.pipeline.storage.beneath import open_beneath
from flows.pipeline.storage.hashed_copy import CHUNK, check_size, sha256_of, spool
from flows.pipeline.storage.interface import Fetched, StorageDenied, StorageMissing, StorageRefused, Stored
from flows.pipeline.storage.uris import canonical, file_path, file_uri, own_key

log = logging.getLogger(__name__)
_NOT_THERE = {ENOENT, ENOTDIR, EISDIR, ELOOP}  # gone, of another kind now, or a link where none was
MAX_URI = 2_500
"""Characters of a uri: with its version token, it has to go into a third of an index page."""
CUT = "\N{HORIZONTAL ELLIPSIS}"
"""Stands in the uri of a longer name, and in no other: all else in it is ASCII."""
_LAST_SECOND = 253_402_300_799  # of the year 9999: a file's time may be any number, a datetime may not
_PARTIAL = ".partial"  # beside the results, so that a finished file can be renamed into its place


class LocalStorage:
    """Folders of this machine. The version token is size, mtime, inode and ctime, which nobody can set."""

    def __init__(self, base: str, access: Access, max_bytes: int) -> None:
        self._base, self._access, self._max_bytes = base, access, max_bytes

    def list(self, place: str) -> Iterator[ObjectVersion]:
        """See Storage. Links to files are followed inside the allow-list; links to folders are not."""
        start = str(file_path(self._place(place)))
        if len(file_uri(start)) > MAX_URI:
            raise StorageRefused(f"{start!r} is too long a name: {MAX_URI} bytes, percent-encoded, at most")
        return self._walk(start)

    def find(self, uri: str) -> ObjectVersion | None:
        """See Storage."""
        self._place(uri)
        path = file_path(uri)
        folder = file_path(canonical(file_uri(path.parent)))
        with _denied(uri):
            return self._listed(str(folder / path.name))

    def _place(self, uri: str) -> str:
        """The canonical form of what may be read, StorageMissing where the whole root is missing."""
        place = canonical(uri)
        root = file_path(self._access.root(place))
        if not root.exists():
            raise StorageMissing(f"{str(root)!r} does not exist: is it mounted?")
        return place

    def _walk(self, start: str) -> Iterator[ObjectVersion]:
        pending = [start]
        while pending:
            path = pending.pop()
            try:
                children = _children(path)
                listed = None if children else self._listed(path)
            except OSError as error:
                children, listed = [], _unlisted(path, error)
                if path == start:
                    with _denied(path):
                        raise
            pending += children
            if listed:
                yield listed

    def _listed(self, path: str) -> ObjectVersion | None:
        if os.path.islink(path) and not self._link_allowed(path):
            return None
        try:
            status = os.stat(path)
        except OSError as error:
            if error.errno in _NOT_THERE:
                return None  # gone since its folder was read, or a link to nothing
            raise
        if not stat.S_ISREG(status.st_mode):
            return None
        modified = datetime.fromtimestamp(min(max(status.st_mtime, 0), _LAST_SECOND), UTC)
        return ObjectVersion(_uri(path), _token(status), status.st_size, modified, _former_token(status))

    def _link_allowed(self, path: str) -> bool:
        try:
            self._access.root(canonical(path))
        except StorageRefused as refusal:
            log.warning("left out the link %r: %s", path, refusal)
            return False
        if os.path.isdir(path):
            log.warning("left out %r: links to folders are not followed; name the folder itself", path)
        return True

    @contextmanager
    def read(self, uri: str, version_token: str, size: int | None = None) -> Iterator[Fetched]:
        """See Storage."""
        if CUT in uri:
            raise AudioRejected(
                "unsupported",
                f"{uri!r} has a name of over {MAX_URI} bytes, percent-encoded: shorten that of a folder",
            )
        place = self._place(uri)
        with TemporaryFile() as file:
            with _denied(uri):
                fetched = self._copy(place, file, uri, version_token)
            yield fetched

    def _copy(self, place: str, file: IO[bytes], uri: str, token: str) -> Fetched:
        path, root = file_path(place), file_path(self._access.root(place))
        with _rejections(uri):
            source = FileIO(path, opener=lambda *_: open_beneath(root, path))
        with source:
            _check_unchanged(source, uri, token)
            check_size(uri, os.fstat(source.fileno()).st_size, self._max_bytes)
            fetched = spool(_chunks_of(source, uri), file, uri, self._max_bytes)
            _check_unchanged(source, uri, token)
        return fetched

    def write(self, key: str, data: bytes | Path) -> Stored:
        """See Storage."""
        target = self._target(key)
        with self._partial(data) as partial:
            if not _linked(partial.path, target):
                beside = self._partial_folder() / uuid4().hex
                _linked(partial.path, beside)
                os.replace(beside, target)
            self._keep_names(target)
        return Stored(file_uri(target), partial.sha256, partial.size)

    def ignored(self, key: str) -> Sequence[str]:
        """See Storage."""
        return ()

    def describe(self, uri: str) -> Stored | None:
        """See Storage."""
        place = canonical(uri)
        self._access.root(place)
        path = file_path(place)
        with _denied(uri):
            if not path.is_file():
                return None
            return Stored(place, sha256_of(path), path.stat().st_size)

    def _target(self, key: str) -> Path:
        place = canonical(f"{file_path(self._base)}/{own_key(key)}")
        self._access.check_write(place)
        target = file_path(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    @contextmanager
    def _partial(self, data: bytes | Path) -> Iterator[Fetched]:
        """The data on disk, whole, where no reader looks; without a name, so that a kill leaves nothing."""
        with _open_partial(self._partial_folder()) as file:
            written = spool(_chunks(data), file, "what is written", sys.maxsize)
            os.fsync(file.fileno())
            yield written

    def _partial_folder(self) -> Path:
        folder = file_path(self._access.write_root) / _PARTIAL
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _keep_names(self, target: Path) -> None:
        """Make the file's name, and those of new folders above it, last through a power cut."""
        root = file_path(self._access.write_root)
        for folder in target.parents:
            _fsync_folder(folder)
            if folder == root:
                break


def _open_partial(folder: Path) -> IO[bytes]:
    try:
        return os.fdopen(os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o644), "w+b")
    except OSError:  # some network shares know no file without a name
        return cast(IO[bytes], NamedTemporaryFile(dir=folder))


def _linked(path: Path, target: Path) -> bool:
    """Give a whole file its name: the one call that fails where a file has it already."""
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        # only with a folder does Python ask the kernel to follow the link that a file without a name has
        os.link(path, target.name, dst_dir_fd=folder, follow_symlinks=True)
    except FileExistsError:
        return False
    finally:
        os.close(folder)
    return True


def _children(path: str) -> list[str]:
    """What a folder holds, against the order of the URIs; nothing for a file, a link or what is gone."""
    if os.path.islink(path):
        return []
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in sorted(entries, key=_order, reverse=True)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _order(entry: os.DirEntry[str]) -> str:
    # All in folder `a` comes after `a.wav`, since "." sorts before the "/" that follows a folder's name.
    slash = "/" if entry.is_dir(follow_symlinks=False) else ""
    return quote_from_bytes(os.fsencode(entry.name)) + slash


def _token(status: os.stat_result) -> str:
    return f"{_former_token(status)}:{status.st_ctime_ns}"


def _former_token(status: os.stat_result) -> str:
    return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"


def _check_unchanged(source: FileIO, uri: str, token: str) -> None:
    status = os.fstat(source.fileno())
    if token not in {_token(status), _former_token(status)}:
        raise AudioRejected("gone", f"{uri!r} changed since it was listed (was {token}, is {_token(status)})")


def _uri(path: str) -> str:
    """The uri of a file; one too long for the database is cut, and told from others by its hash."""
    uri = file_uri(path)
    if len(uri) <= MAX_URI:
        return uri
    return f"{uri[: MAX_URI - 100]}{CUT}{sha256_of(uri.encode()).hex()}"


def _unlisted(path: str, error: OSError) -> ObjectVersion:
    log.warning("%r cannot be listed, and what is known of it is kept: %s", path, error)
    token = UNLISTED + errorcode.get(error.errno or 0, "EIO")
    return ObjectVersion(_uri(path), token, 0, datetime.fromtimestamp(0, UTC))


@contextmanager
def _rejections(uri: str) -> Iterator[None]:
    """Tell what the system says of one file, and not of those it is copied to, as a rejection of it."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_THERE:
            raise AudioRejected("gone", f"{uri!r} is not there any more") from error
        if error.errno == EIO:
            raise AudioRejected("unreadable", f"the disk cannot read {uri!r}: send it again") from error
        raise


def _chunks_of(source: FileIO, uri: str) -> Iterator[bytes]:
    with _rejections(uri):
        yield from iter(lambda: source.read(CHUNK), b"")


def _chunks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as source:
        yield from iter(lambda: source.read(CHUNK), b"")


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _denied(place: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise StorageDenied(f"{place!r} may not be read by this user: {error.strerror}") from error
