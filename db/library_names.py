"""Names of libraries: NAME for the version in use, NAME@VERSION for one version.

NAME/LABEL is the library of one label of a multi-label library, whose clips have the label or do not.
"""

import re

NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
VERSION = r"(?:@[1-9][0-9]{0,8})?"
NO_LABEL_CHARACTERS = r"@\x00-\x1f\x7f"
"""Of a character class: those that no label of a multi-label library has."""
NAME_OR_VERSION = rf"^{NAME}(?:/[^{NO_LABEL_CHARACTERS}]{{1,200}})?{VERSION}$"


def split_library_name(name: str) -> tuple[str, int | None]:
    """Split NAME@VERSION into (name, version); the version of a bare NAME is None, the one in use.

    Raises ValueError for anything else.
    """
    if not re.fullmatch(NAME_OR_VERSION, name):
        raise ValueError(f"{name!r} is not a library name: write NAME or NAME@VERSION")
    bare, _, version = name.partition("@")
    return bare, int(version) if version else None
