"""Names of libraries: NAME for the version in use, NAME@VERSION for one version."""

import re

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
VERSION = r"(?:@[1-9][0-9]{0,8})?"
NAME_OR_VERSION = rf"^{NAME}{VERSION}$"


def split_library_name(name: str) -> tuple[str, int | None]:
    """Split NAME@VERSION into (name, version); the version of a bare NAME is None, the one in use.

    Raises ValueError for anything else.
    """
    if not re.fullmatch(NAME_OR_VERSION, name):
        raise ValueError(f"{name!r} is not a library name: write NAME or NAME@VERSION")
    bare, _, version = name.partition("@")
    return bare, int(version) if version else None
