"""Local folders as a storage, for laptops, tests and mounted shares."""

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
from flows.pipeline.storage.hashed_copy import CHUNK_BYTES, check_size, sha256_of, write_hashed
from flows.pipeline.storage.interface import Fetched, StorageDenied, StorageMissing, StorageRefused, Stored
from flows.pipeline.storage.uris import canonical, file_path, file_uri, own_key

log = logging.getLogger(__name__)
_MISSING_ERRORS = {ENOENT, ENOTDIR, EISDIR, ELOOP}  # gone, replaced by a folder, or by a link
MAX_URI_LENGTH = 2_500
"""Characters of a uri. With its version token, it must fit into a third of an index page."""
CUT_MARK = "\N{HORIZONTAL ELLIPSIS}"
"""Marks a shortened uri. No other uri contains it, since all else is ASCII."""
_MAX_TIMESTAMP = 253_402_300_799  # end of the year 9999: a file's time may be any number, a datetime may not
_PARTIAL_FOLDER = ".partial"  # on the file system of the results, so that a finished file can be renamed


class LocalStorage:
    """Folders of this machine. The version token is size, mtime, inode and ctime, which users cannot set."""

    def __init__(self, base: str, access: Access, max_bytes: int) -> None:
        self._base, self._access, self._max_bytes = base, access, max_bytes

    def list(self, place: str) -> Iterator[ObjectVersion]:
        """List as Storage.list does, following links to files in the allow-list, but not links to folders."""
        start = str(file_path(self._place(place)))
        if (length := len(file_uri(start))) > MAX_URI_LENGTH:
            raise StorageRefused(
                f"{start!r} is too long: {length} percent-encoded characters, the limit is {MAX_URI_LENGTH}; "
                "choose a shorter path"
            )
        return self._walk(start)

    def find(self, uri: str) -> ObjectVersion | None:
        """Find as Storage.find does."""
        self._place(uri)
        path = file_path(uri)
        folder = file_path(canonical(file_uri(path.parent)))
        with _denied(uri):
            return self._listed(str(folder / path.name))

    def _place(self, uri: str) -> str:
        """Return the canonical place if it may be read. Raises StorageMissing if its root does not exist."""
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
            if error.errno in _MISSING_ERRORS:
                return None  # deleted since its folder was read, or a dangling link
            raise
        if not stat.S_ISREG(status.st_mode):
            return None
        modified = datetime.fromtimestamp(min(max(status.st_mtime, 0), _MAX_TIMESTAMP), UTC)
        return ObjectVersion(_uri(path), _token(status), status.st_size, modified, _former_token(status))

    def _link_allowed(self, path: str) -> bool:
        try:
            self._access.root(canonical(path))
        except StorageRefused as refusal:
            log.warning("skipped the link %r: %s", path, refusal)
            return False
        if os.path.isdir(path):
            log.warning("skipped %r: links to folders are not followed; name the folder itself", path)
        return True

    @contextmanager
    def read(self, uri: str, version_token: str, size: int | None = None) -> Iterator[Fetched]:
        """Read as Storage.read does."""
        if CUT_MARK in uri:
            raise AudioRejected(
                "unsupported",
                f"{uri!r} has over {MAX_URI_LENGTH} percent-encoded characters: shorten the name of a folder",
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
            fetched = write_hashed(_source_chunks(source, uri), file, uri, self._max_bytes)
            _check_unchanged(source, uri, token)
        return fetched

    def write(self, key: str, data: bytes | Path) -> Stored:
        """Write as Storage.write does."""
        target = self._target(key)
        with self._partial(data) as partial:
            if not _link(partial.path, target):
                replacement = self._partial_folder() / uuid4().hex
                _link(partial.path, replacement)
                os.replace(replacement, target)
            self._sync_folders(target)
        return Stored(file_uri(target), partial.sha256, partial.size)

    def delete(self, uri: str) -> None:
        """Delete as Storage.delete does."""
        place = canonical(uri)
        self._access.check_write(place)
        with _denied(uri):
            file_path(place).unlink(missing_ok=True)

    def ignored(self, key: str) -> Sequence[str]:
        """Return nothing: local files are not written with such safeguards."""
        return ()

    def describe(self, uri: str) -> Stored | None:
        """Describe as Storage.describe does."""
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
        """Write all data to a file that no reader sees. It has no name, so that a kill leaves nothing."""
        with _open_partial(self._partial_folder()) as file:
            copy = write_hashed(_chunks(data), file, "a new object", sys.maxsize)
            os.fsync(file.fileno())
            yield copy

    def _partial_folder(self) -> Path:
        folder = file_path(self._access.write_root) / _PARTIAL_FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _sync_folders(self, target: Path) -> None:
        """Sync the folders above a file, so that its name and theirs survive a power cut."""
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


def _link(path: Path, target: Path) -> bool:
    """Give a complete file its name. Returns False if another file has it: link never overwrites."""
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
    """Return the entries of a folder in reverse URI order; none for a file, a link or a missing path."""
    if os.path.islink(path):
        return []
    try:
        with os.scandir(path) as entries:
            return [entry.path for entry in sorted(entries, key=_order, reverse=True)]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _order(entry: os.DirEntry[str]) -> str:
    # The contents of folder `a` come after `a.wav`: "." sorts before the "/" that follows a folder's name.
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
    """Return the uri of a file. One too long for the database is cut and ends in its hash."""
    uri = file_uri(path)
    if len(uri) <= MAX_URI_LENGTH:
        return uri
    return f"{uri[: MAX_URI_LENGTH - 100]}{CUT_MARK}{sha256_of(uri.encode()).hex()}"


def _unlisted(path: str, error: OSError) -> ObjectVersion:
    log.warning("%r cannot be listed, so its clips stay as they are: %s", path, error)
    token = UNLISTED + errorcode.get(error.errno or 0, "EIO")
    return ObjectVersion(_uri(path), token, 0, datetime.fromtimestamp(0, UTC))


@contextmanager
def _rejections(uri: str) -> Iterator[None]:
    """Turn errors of the source file, not of the copy, into a rejection of the clip."""
    try:
        yield
    except OSError as error:
        if error.errno in _MISSING_ERRORS:
            raise AudioRejected("gone", f"{uri!r} no longer exists") from error
        if error.errno == EIO:
            raise AudioRejected("unreadable", f"the disk cannot read {uri!r}: send it again") from error
        raise


def _source_chunks(source: FileIO, uri: str) -> Iterator[bytes]:
    with _rejections(uri):
        yield from iter(lambda: source.read(CHUNK_BYTES), b"")


def _chunks(data: bytes | Path) -> Iterator[bytes]:
    if isinstance(data, bytes):
        yield data
        return
    with data.open("rb") as source:
        yield from iter(lambda: source.read(CHUNK_BYTES), b"")


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
