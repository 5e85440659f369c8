"""Which code wrote a row: the release, and a digest of the sources that decide what is written."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("core", "db", "flows", "migrations")


@cache
def code_version() -> str:
    """Such as 0.1.0+3f9a01c2d4e5; equal sources have equal digests, wherever they lie."""
    root, digest = Path(__file__).parents[3], hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return f"{version('wordwave')}+{digest.hexdigest()[:12]}"
