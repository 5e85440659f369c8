"""Confinement of a process that reads hostile bytes, and protection of the processes around it.

Three layers: resource limits, which work everywhere; a seccomp filter, where the kernel supports it; and
unreadable memory and environment of the processes that hold secrets.
"""

import ctypes
import math
import resource
import signal
import sys
from pathlib import Path

from core.confinement.seccomp import install_filter

_MAX_DESCRIPTORS = 32
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 1, 4, 38


def bound_resources(memory_bytes: int, cpu_seconds: float) -> None:
    """Limit this process, forbid it files and child processes, and end it with its parent's thread.

    The process limit does not apply to root; there the filter blocks child processes.
    """
    bounds = {
        resource.RLIMIT_AS: memory_bytes,
        resource.RLIMIT_CPU: math.ceil(cpu_seconds),
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NOFILE: _MAX_DESCRIPTORS,
        resource.RLIMIT_NPROC: 0,
    }
    for kind, bound in bounds.items():
        _, hard = resource.getrlimit(kind)
        bound = bound if hard == resource.RLIM_INFINITY else min(bound, hard)
        resource.setrlimit(kind, (bound, bound))
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def confine() -> bool:
    """Restrict this process permanently to the files it has open; return whether the kernel can.

    Nothing can be imported afterwards, so all lazily loaded code must have been used before.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return sys.platform == "linux" and install_filter()


def hide_memory() -> None:
    """Hide the memory and environment of this process from other processes of its user."""
    _prctl(_PR_SET_DUMPABLE, 0)


def confinement(pid: int) -> dict[str, bool]:
    """Return which protections of a process the kernel reports."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"seccomp": status.get("Seccomp") == "2", "no_new_privs": status.get("NoNewPrivs") == "1"}


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
