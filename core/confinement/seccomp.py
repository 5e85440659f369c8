"""A seccomp filter that allows only the system calls needed to decode files that are already open.

Reading, seeking, memory, clocks and answering on an open socket are allowed. Everything else (open, socket,
connect, exec, fork, kill, ptrace, ...) fails with EPERM, as does any call with another architecture's
numbers. This is an allow-list, so calls of later kernels are refused as well.
"""

import ctypes
import errno
import platform
import struct

_ARCHITECTURES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
"""Audit number of each architecture, and its column in the tables below."""

_ALLOWED: dict[str, tuple[int | None, int | None]] = {
    "read": (0, 63),
    "readv": (19, 65),
    "pread64": (17, 67),
    "preadv": (295, 69),
    "write": (1, 64),
    "writev": (20, 66),
    "lseek": (8, 62),
    "fstat": (5, 80),
    "close": (3, 57),
    "sendto": (44, 206),
    "sendmsg": (46, 211),
    "recvfrom": (45, 207),
    "recvmsg": (47, 212),
    "poll": (7, None),
    "ppoll": (271, 73),
    "select": (23, None),
    "pselect6": (270, 72),
    "mmap": (9, 222),
    "munmap": (11, 215),
    "mremap": (25, 216),
    "mprotect": (10, 226),
    "madvise": (28, 233),
    "brk": (12, 214),
    "futex": (202, 98),
    "sched_yield": (24, 124),
    "sched_getaffinity": (204, 123),
    "getpid": (39, 172),
    "gettid": (186, 178),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sigaltstack": (131, 132),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "nanosleep": (35, 101),
    "gettimeofday": (96, 169),
    "getrandom": (318, 278),
    "exit": (60, 93),
    "exit_group": (231, 94),
}
# glibc's fstat since 2.33. With this flag alone it asks about an open file; a path would tell no more than
# that a file exists and how large it is.
_NEWFSTATAT, _AT_EMPTY_PATH = (262, 79), 0x1000

_SECCOMP = (317, 277)
_SET_MODE_FILTER, _ALL_THREADS = 1, 1

_LOAD, _JUMP_IF_EQUAL, _RETURN = 0x20, 0x15, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET, _FLAGS_OFFSET = 0, 4, 40  # of struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install_filter() -> bool:
    """Filter the system calls of all threads of this process from now on; no_new_privs must be set.

    Returns whether the kernel accepted the filter; some kernels, sandboxes and architectures have no seccomp.
    """
    if platform.machine() not in _ARCHITECTURES:
        return False
    architecture, column = _ARCHITECTURES[platform.machine()]
    instructions = _instructions(architecture, column)
    program = _Program(len(instructions) // 8, instructions)
    call = ctypes.CDLL(None).syscall
    status: int = call(_SECCOMP[column], _SET_MODE_FILTER, _ALL_THREADS, ctypes.byref(program))
    return status == 0


def _instructions(architecture: int, column: int) -> bytes:
    """Return the filter as classic BPF; the first return that is reached decides."""
    numbers = [call[column] for call in _ALLOWED.values()]
    return b"".join(
        [
            _instruction(_LOAD, _ARCHITECTURE_OFFSET),
            _instruction(_JUMP_IF_EQUAL, architecture, 1, 0),
            _instruction(_RETURN, _REFUSE),
            _instruction(_LOAD, _NUMBER_OFFSET),
            *(_allow(number) for number in numbers if number is not None),
            _instruction(_JUMP_IF_EQUAL, _NEWFSTATAT[column], 0, 3),
            _instruction(_LOAD, _FLAGS_OFFSET),
            _instruction(_JUMP_IF_EQUAL, _AT_EMPTY_PATH, 0, 1),
            _instruction(_RETURN, _ALLOW),
            _instruction(_RETURN, _REFUSE),
        ]
    )


def _allow(number: int) -> bytes:
    return _instruction(_JUMP_IF_EQUAL, number, 0, 1) + _instruction(_RETURN, _ALLOW)


def _instruction(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    """Return one struct sock_filter; jumps count skipped instructions."""
    return struct.pack("=HBBI", code, if_true, if_false, value)
