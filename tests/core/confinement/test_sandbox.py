"""What a clip that took over the decoding child could do there, tried from inside."""

import json
import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from core.confinement.sandbox import confinement
from core.confinement.seccomp import _ALLOWED, _ARCHITECTURES, _instructions

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or platform.machine() not in _ARCHITECTURES, reason="no seccomp on this machine"
)

INSIDE = """
import ctypes, errno, json, os, platform, resource, signal, socket, subprocess, sys, threading
from core.decoding.audio_stream import AudioLimits
from core.decoding.child_process import main as decoding_child
from core.decoding.child_process.main import settle_in, _held_in_memory, answer_clip
from core.decoding.child_process.rehearsal import encode_by_soundfile, make_noise

parent, column = int(sys.argv[1]), ["x86_64", "aarch64"].index(platform.machine())
libc = ctypes.CDLL(None, use_errno=True)
buffer = ctypes.create_string_buffer(64)

def call(*numbers_and_arguments):
    numbers, *arguments = numbers_and_arguments
    if libc.syscall(ctypes.c_long(numbers[column]), *map(ctypes.c_long, arguments)) < 0:
        raise OSError(ctypes.get_errno(), "refused")

def in_thread(attempt):
    outcome = []
    def run():
        started.wait()
        outcome.append(tried(attempt))
    thread = threading.Thread(target=run)
    thread.start()
    return lambda: (thread.join(), outcome[0])[1]

def tried(attempt):
    try:
        attempt()
    except OSError as error:
        return errno.errorcode[error.errno]
    except BaseException as error:
        return type(error).__name__
    return "done"

started = threading.Event()
path = ctypes.addressof(ctypes.create_string_buffer(b"/etc/passwd"))
ours, theirs = socket.socketpair()
attempts = {
    "open": lambda: open("/etc/passwd"),
    "open for writing": lambda: open("/tmp/confined", "w"),
    "open the parent's environment": lambda: open(f"/proc/{parent}/environ"),
    "open the parent's memory": lambda: open(f"/proc/{parent}/mem", "r+b"),
    "open its own memory": lambda: open("/proc/self/mem", "r+b"),
    "list": lambda: os.listdir("/"),
    "open (old)": lambda: call((2, 56), -100, path, 0),
    "openat2": lambda: call((437, 437), -100, path, 0, 0),
    "name_to_handle_at": lambda: call((303, 264), -100, path, 0, 0, 0),
    "stat by path": lambda: call((262, 79), -100, path, 0, 0),
    "unlink": lambda: os.unlink("/etc/passwd"),
    "mkdir": lambda: os.mkdir("/tmp/confined"),
    "chmod": lambda: os.chmod("/etc/passwd", 0o666),
    "memfd": lambda: os.memfd_create("program"),
    "socket": lambda: socket.socket(),
    "unix socket": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: call((42, 203), ours.fileno(), 0, 0),
    "bind": lambda: call((49, 200), ours.fileno(), 0, 0),
    "socketpair": lambda: socket.socketpair(),
    "fork": os.fork,
    "vfork": lambda: call((58, 220), 0),
    "clone3": lambda: call((435, 435), 0, 0),
    "thread": lambda: threading.Thread(target=int).start(),
    "exec": lambda: os.execv("/bin/true", ["true"]),
    "execveat": lambda: call((322, 281), 0, path, 0, 0, 0),
    "subprocess": lambda: subprocess.Popen(["true"]),
    "kill the parent": lambda: os.kill(parent, 0),
    "kill itself": lambda: os.kill(os.getpid(), 0),
    "tgkill": lambda: call((234, 131), parent, parent, 0),
    "pidfd_open": lambda: os.pidfd_open(parent),
    "ptrace": lambda: call((101, 117), 16, parent, 0, 0),
    "process_vm_readv": lambda: call((310, 270), parent, 0, 0, 0, 0, 0),
    "process_vm_writev": lambda: call((311, 271), parent, 0, 0, 0, 0, 0),
    "limits": lambda: call((302, 261), 0, 0, 0, 0),
    "bounds of another": lambda: resource.prlimit(parent, resource.RLIMIT_CPU),
    "setuid": lambda: os.setuid(0),
    "unshare": lambda: call((272, 97), 0x10000000),
    "mount": lambda: call((165, 40), 0, 0, 0, 0, 0),
    "bpf": lambda: call((321, 280), 0, 0, 0),
    "io_uring_setup": lambda: call((425, 425), 1, 0),
    "userfaultfd": lambda: call((323, 282), 0),
    "keyctl": lambda: call((250, 219), 0, 0),
    "ioctl": lambda: call((16, 29), 0, 0x5412, 0),
    "fcntl": lambda: call((72, 25), ours.fileno(), 8, parent),
    "dup": lambda: os.dup(0),
    "prctl": lambda: call((157, 167), 4, 1),
    "another filter": lambda: call((317, 277), 1, 0, 0),
    "a number of the x32 ABI": lambda: call((0x40000000 + 39, 10_000)),
    "a number that is not there": lambda: call((9_999, 9_999)),
}
codings = [
    ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ALAW"), ("WAV", "ULAW"), ("RF64", "PCM_16"),
    ("W64", "PCM_16"), ("AIFF", "PCM_16"), ("AU", "PCM_16"), ("CAF", "PCM_16"), ("NIST", "PCM_16"),
    ("FLAC", "PCM_24"), ("OGG", "VORBIS"), ("OGG", "OPUS"), ("MP3", None),
]
clips = {coding: encode_by_soundfile(make_noise(), *coding) for coding in codings}
held = {" ".join(map(str, coding)): _held_in_memory(clip) for coding, clip in clips.items()}
other_thread = in_thread(attempts["open"])
settle_in(600)
started.set()
attempted = {name: tried(attempt) for name, attempt in attempts.items()}
attempted["open in a thread that was there before"] = other_thread()
answers = {name: list(answer_clip(descriptor, AudioLimits())) for name, descriptor in held.items()}
decoded = {name: b'"info"' in answer[-1] for name, answer in answers.items()}
def exhausted(*_):
    raise MemoryError
decoding_child.open_audio = exhausted
decoded["out of memory"] = b'"unreadable"' in next(answer_clip(ours.fileno(), AudioLimits()))
print(json.dumps([attempted, decoded]))
"""


@pytest.fixture(scope="module")
def inside() -> tuple[dict[str, str], dict[str, bool]]:
    """Return the results of attempts and decoding in a process confined like the child."""
    command = [sys.executable, "-c", INSIDE, str(os.getpid())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.returncode
    attempted, decoded = json.loads(done.stdout)
    return attempted, decoded


def test_nothing_but_what_is_open_can_be_reached(inside: tuple[dict[str, str], dict[str, bool]]) -> None:
    attempted, _ = inside
    assert attempted.pop("thread") == "RuntimeError"  # what Python makes of a refused clone
    assert set(attempted.values()) == {"EPERM"}, attempted


def test_every_format_still_decodes(inside: tuple[dict[str, str], dict[str, bool]]) -> None:
    _, decoded = inside
    assert all(decoded.values()), decoded


HIDING = """
import ctypes, os
from core.confinement.sandbox import hide_memory

def read_by_another():
    reader = os.fork()
    if reader == 0:
        try:
            os.close(os.open(f"/proc/{os.getppid()}/environ", os.O_RDONLY))
        except PermissionError:
            os._exit(1)
        os._exit(0)
    return os.waitpid(reader, 0)[1] == 0

if os.geteuid() == 0:
    os.setgid(65534)
    os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # as a process that never was root
before = read_by_another()
hide_memory()
print(before, read_by_another())
"""


def test_hidden_memory_cannot_be_read_by_a_process_of_the_same_user() -> None:
    done = subprocess.run([sys.executable, "-c", HIDING], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]


@pytest.mark.parametrize("architecture", _ARCHITECTURES)
def test_the_filter_allows_no_number_twice_and_fits_its_jumps(architecture: str) -> None:
    audit, column = _ARCHITECTURES[architecture]
    numbers = [call[column] for call in _ALLOWED.values() if call[column] is not None]
    assert len(set(numbers)) == len(numbers)
    assert len(_instructions(audit, column)) == 8 * (4 + 2 * len(numbers) + 5)


def test_this_process_is_told_as_it_is() -> None:
    status = Path("/proc/self/status").read_text()
    assert confinement(os.getpid())["seccomp"] == ("Seccomp:\t2" in status)
