"""What holds a process that reads hostile bytes, and what it must not find in the processes around it.

Three layers: bounds on resources, which hold everywhere; a seccomp filter, where the kernel has it; and the
memory and environment of the processes that hold secrets, which no other process of the same user may read.
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
    """Bound this process, let it write no file and start no process, and end it with its parent's thread.

    As root, the bound on processes does not count; the filter holds there.
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
    """Leave this process the files it has open, for good; return whether the kernel can.

    Nothing can be imported afterwards, so all that is loaded lazily must have been used once before.
    """
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    return sys.platform == "linux" and install_filter()


def hide_memory() -> None:
    """Keep the memory and environment of this process from others of its user, debuggers included."""
    _prctl(_PR_SET_DUMPABLE, 0)


def confinement(pid: int) -> dict[str, bool]:
    """Return which walls a process has, as the kernel reports them."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return {"seccomp": status.get("Seccomp") == "2", "no_new_privs": status.get("NoNewPrivs") == "1"}


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
