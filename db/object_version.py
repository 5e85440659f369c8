"""What a storage says of an object: apart from the tables, for readers of storage that need no database."""

from dataclasses import dataclass
from datetime import datetime

UNLISTED = "unlisted:"
"""Begins the version token of a file or folder that is there, and could not be looked at."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One object of a listing. `size` in bytes.

    `former_token` is what earlier versions of wordwave called the same version of the object.
    """

    uri: str
    version_token: str
    size: int
    last_modified: datetime
    former_token: str | None = None

    @property
    def is_unlisted(self) -> bool:
        return self.version_token.startswith(UNLISTED)

    @property
    def tokens(self) -> tuple[str, ...]:
        """All that the version may be stored under."""
        return (self.version_token, self.former_token) if self.former_token else (self.version_token,)
