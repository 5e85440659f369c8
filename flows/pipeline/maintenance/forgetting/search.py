"""A search for thousands of byte strings at once, in one pass over the data.

Of each string, eight bytes that few others have are its anchor. All windows of eight bytes of the data are
hashed at once, and only where a hash is that of an anchor the strings are compared.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

ANCHOR_BYTES = 8
_HASH_BITS = 22
_FACTOR, _SHIFT = np.uint64(0x9E3779B97F4A7C15), np.uint64(64 - _HASH_BITS)


class ByteSearch:
    """Finds where any of some byte strings, each of at least eight bytes, are in data."""

    def __init__(self, wanted: Collection[bytes]) -> None:
        """Choose the anchors. Raises ValueError for a string that is too short to have one."""
        self._by_anchor: defaultdict[bytes, list[tuple[int, bytes]]] = defaultdict(list)
        common = Counter(window for one in wanted for window in set(_windows(one)))
        for one in wanted:
            if len(one) < ANCHOR_BYTES:
                raise ValueError(f"{one!r} is too short to be searched for: {ANCHOR_BYTES} bytes are needed")
            at, anchor = min(enumerate(_windows(one)), key=lambda found: common[found[1]])
            self._by_anchor[anchor].append((at, one))
        self._is_anchor = np.zeros(1 << _HASH_BITS, bool)
        self._is_anchor[_hashes(np.frombuffer(b"".join(self._by_anchor), "<u8"))] = True

    def find(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Yield each place of a string, and the string."""
        for start in range(min(ANCHOR_BYTES, len(data) - ANCHOR_BYTES + 1)):
            count = (len(data) - start) // ANCHOR_BYTES
            windows = np.frombuffer(data, "<u8", count, start)
            for window in np.flatnonzero(self._is_anchor[_hashes(windows)]).tolist():
                yield from self._compare(data, start + window * ANCHOR_BYTES)

    def _compare(self, data: bytes, place: int) -> Iterator[tuple[int, bytes]]:
        for at, one in self._by_anchor.get(data[place : place + ANCHOR_BYTES], ()):
            if place >= at and data.startswith(one, place - at):
                yield place - at, one


def _windows(one: bytes) -> list[bytes]:
    return [one[at : at + ANCHOR_BYTES] for at in range(len(one) - ANCHOR_BYTES + 1)]


def _hashes(windows: NDArray[np.uint64]) -> NDArray[np.uint64]:
    return (windows * _FACTOR) >> _SHIFT
