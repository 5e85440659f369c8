"""What a storage says of an object: apart from the tables, for readers of storage that need no database."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Listed:
    """One object of a listing. `size` in bytes."""

    uri: str
    version_token: str
    size: int
    last_modified: datetime
