"""Files and folders that only their owner can read."""

import os
import stat
import tempfile
from contextlib import suppress
from pathlib import Path


def private_folder(path: Path) -> Path:
    """Make a folder for its owner alone, or close one of this user's that others may enter.

    A folder shared by design (with the sticky bit) does not change. Root lets others pass through: Postgres
    runs as another account for root, and its files may be below.
    """
    with suppress(FileExistsError):
        path.mkdir(mode=0o700, parents=True)
    status = path.stat()
    if status.st_uid == os.geteuid() and not status.st_mode & stat.S_ISVTX:
        path.chmod(stat.S_IMODE(status.st_mode) & (0o711 if os.geteuid() == 0 else 0o700))
    return path


def keep_private(path: Path, text: str) -> str:
    """Write a file once, readable by its owner alone, and return its text, which may be an earlier one."""
    if not path.exists():
        descriptor, fresh = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        with suppress(FileExistsError):  # another process was faster: its text is the one that is kept
            os.link(fresh, path)
        os.unlink(fresh)
    path.chmod(0o600)
    return path.read_text()
