"""The version of the code that writes rows: the release, and a digest of the sources."""

import hashlib
from functools import cache
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("core", "db", "flows", "migrations")


@cache
def code_version() -> str:
    """Return a version such as 0.1.0+3f9a01c2d4e5. The digest does not depend on the sources' location."""
    root, digest = Path(__file__).parents[3], hashlib.sha256()
    for path in sorted(path for package in PACKAGES for path in (root / package).rglob("*.py")):
        digest.update(f"{path.relative_to(root)}\0".encode())
        digest.update(path.read_bytes())
    return f"{version('wordwave')}+{digest.hexdigest()[:12]}"
