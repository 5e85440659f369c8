"""Processor time of a Postgres on this machine, which other programs do not lengthen as they do waiting."""

from pathlib import Path


def processor_ms(backend: int) -> float:
    """Return what a backend has used, with all helpers that its server has ended until now."""
    parent, backend_ticks, _ = _read(backend)
    return 10.0 * (backend_ticks + _read(parent)[2])


def _read(pid: int) -> tuple[int, int, int]:
    """Return the parent of a process, and its own and its ended children's time in ticks of 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    parent, (user, system, of_children, system_of_children) = int(fields[1]), map(int, fields[11:15])
    return parent, user + system, of_children + system_of_children
