"""The C libraries in wheels, and published advisories against them.

`make audit` checks Python packages, but not what is compiled into them.
"""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from db.embedded.host import INSTALL_FOLDER, WHEEL_NAME


@dataclass(frozen=True)
class Vendored:
    """A C library, its wheel, and the function that reads its version."""

    name: str
    wheel: str
    read_version: Callable[[], str]


@dataclass(frozen=True)
class Advisory:
    """A published weakness of some versions of a library, and the protection against it here."""

    library: str
    versions: str
    identifier: str
    weakness: str
    here: str


def _libsndfile() -> str:
    import soundfile

    return str(soundfile.__libsndfile_version__)


def _ffmpeg() -> str:
    import av

    return str(av.ffmpeg_version_info)


def _openblas() -> str:
    import numpy as np

    return str(np.show_config(mode="dicts")["Build Dependencies"]["blas"]["version"])


def _postgres() -> str:
    spec = find_spec(INSTALL_FOLDER.partition("/")[0])
    assert spec
    assert spec.submodule_search_locations
    binary = Path(spec.submodule_search_locations[0]).parent / INSTALL_FOLDER / "bin" / "postgres"
    output = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout
    return output.split()[-1]


def _libpq() -> str:
    import psycopg2

    number = psycopg2.__libpq_version__
    return f"{number // 10_000}.{number % 10_000}"


VENDORED = (
    Vendored("libsndfile", "soundfile", _libsndfile),
    Vendored("FFmpeg", "av", _ffmpeg),
    Vendored("OpenBLAS", "numpy", _openblas),
    Vendored("Postgres", WHEEL_NAME, _postgres),
    Vendored("libpq", "psycopg2-binary", _libpq),
)
ADVISORIES = (
    Advisory(
        "libsndfile",
        "<=1.2.2",
        "CVE-2026-37555",
        "overflow in IMA ADPCM",
        "refused before libsndfile reads it unless WORDWAVE_EXTRA_CODINGS has ima_adpcm; confined",
    ),
    Advisory(
        "libsndfile",
        "<=1.2.2",
        "CVE-2024-50612",
        "invalid access when Ogg is written",
        "only WAV and FLAC are written",
    ),
    Advisory(
        "libsndfile",
        "<=1.2.2",
        "CVE-2024-50613",
        "abort when MP3 is written",
        "only WAV and FLAC are written",
    ),
)


def installed() -> dict[str, str]:
    """Return the version of each installed library by name."""
    return {one.name: one.read_version() for one in VENDORED if find_spec(_module(one.wheel))}


def known_against(versions: dict[str, str]) -> list[Advisory]:
    """Return the advisories against these versions."""
    return [one for one in ADVISORIES if _affects(one, versions.get(one.library))]


def describe() -> str:
    """Return one line: libraries with their versions and wheels, then the advisories."""
    versions = installed()
    wheels = {one.name: one.wheel for one in VENDORED}
    found = [f"{name} {number} ({wheels[name]} {version(wheels[name])})" for name, number in versions.items()]
    known = [f"{one.identifier} ({one.weakness}: {one.here})" for one in known_against(versions)]
    return f"{', '.join(found)}; known: {'; '.join(known) or 'nothing'}"


def _affects(advisory: Advisory, number: str | None) -> bool:
    return number is not None and Version(number) in SpecifierSet(advisory.versions)


def _module(wheel: str) -> str:
    return {"psycopg2-binary": "psycopg2"}.get(wheel, wheel.replace("-", "_"))
