"""A storage object's listing entry, apart from the tables, for users without a database."""

from dataclasses import dataclass
from datetime import datetime

UNLISTED = "unlisted:"
"""Begins the version token of a file or folder that exists but could not be examined."""


@dataclass(frozen=True, slots=True)
class ObjectVersion:
    """One object of a listing. `size` in bytes.

    `former_token` is the token of the same version in earlier versions of wordwave.
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
        """All tokens that the version may be stored under."""
        return (self.version_token, self.former_token) if self.former_token else (self.version_token,)
