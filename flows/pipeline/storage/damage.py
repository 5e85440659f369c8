"""Detection of missing and changed objects that rows refer to."""

from collections.abc import Callable
from typing import Literal

from db.exports import Digests
from flows.pipeline.storage import Storage, StorageDenied, StorageRefused, Stored

Damage = Literal["missing", "changed"]


def is_intact(storage: Storage, digests: Digests) -> bool:
    """Return whether every object is there with its bytes. If access is denied, the row is believed."""
    try:
        return not find_damage(digests, storage.describe)
    except (StorageDenied, StorageRefused):
        return True


def find_damage(digests: Digests, describe: Callable[[str], Stored | None]) -> dict[str, Damage]:
    """Return the damage by uri. `describe` returns the stored object of a uri, or None."""
    found = {uri: _compare(describe(uri), digest) for uri, digest in digests.items()}
    return {uri: kind for uri, kind in found.items() if kind}


def _compare(stored: Stored | None, sha256: bytes | None) -> Damage | None:
    if stored is None:
        return "missing"
    return None if sha256 in (None, stored.sha256) else "changed"
