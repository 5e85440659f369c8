"""Which objects that rows name are missing or changed."""

from collections.abc import Callable
from typing import Literal

from db.exports import Digests
from flows.pipeline.storage import Storage, StorageDenied, StorageRefused, Stored

Damage = Literal["missing", "changed"]
Look = Callable[[str], Stored | None]
"""Returns what is stored under a uri, None where nothing is."""


def is_intact(storage: Storage, digests: Digests) -> bool:
    """Whether every object is there with its bytes. Whoever may not look has to believe the row."""
    try:
        return not damage(digests, storage.describe)
    except (StorageDenied, StorageRefused):
        return True


def damage(digests: Digests, look: Look) -> dict[str, Damage]:
    """Return what is wrong with each object that is not as it was written, by uri."""
    found = {uri: _compare(look(uri), digest) for uri, digest in digests.items()}
    return {uri: kind for uri, kind in found.items() if kind}


def _compare(stored: Stored | None, sha256: bytes | None) -> Damage | None:
    if stored is None:
        return "missing"
    return None if sha256 in (None, stored.sha256) else "changed"
