"""Which processes there are, from /proc."""

from pathlib import Path


def children(pid: int) -> list[int]:
    """The processes that a process has started and that live."""
    return [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == pid]


def lives(pid: int) -> bool:
    """Whether a process is there and is not a corpse that its parent has yet to collect."""
    return _parent(Path(f"/proc/{pid}/stat")) is not None


def _parent(stat: Path) -> int | None:
    try:
        state, parent, *_ = stat.read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state in "ZX" else int(parent)


def descendants(pid: int) -> list[int]:
    """Its children, theirs and so on."""
    found = children(pid)
    return [*found, *(below for child in found for below in descendants(child))]


def command(pid: int) -> str:
    """What a process was started as; empty for one that is gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except (FileNotFoundError, ProcessLookupError):
        return ""
