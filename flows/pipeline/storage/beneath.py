"""Opening files below a folder without following links, so that nobody can swap one in after the check."""

import os
from pathlib import Path

_FOLDER = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
# Without O_NONBLOCK, opening a named pipe that took a file's place would wait for ever.
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def open_beneath(root: Path, path: Path) -> int:
    """Open `path`, which is `root` or below it, name by name. Raises OSError ELOOP or ENOTDIR for a link."""
    *folders, name = path.relative_to(root).parts or (path.name,)
    folder = os.open(root if path != root else root.parent, os.O_PATH | os.O_DIRECTORY)
    try:
        for below in folders:
            above, folder = folder, os.open(below, _FOLDER, dir_fd=folder)
            os.close(above)
        return os.open(name, _FILE, dir_fd=folder)
    finally:
        os.close(folder)
