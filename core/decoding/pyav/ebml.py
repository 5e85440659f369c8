"""Checks of the elements of WebM and Matroska files (RFC 8794, RFC 9559).

Browsers do not go back to fill in sizes, so segments and clusters of unknown size are walked element by
element; such a file passes when it is cut exactly between two elements.
"""

import os

from core.errors import AudioRejected

_EBML, _SEGMENT, _CLUSTER = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75"
_MAX_ELEMENTS = 4_000_000
_LONGEST_HEADER = 12


def check_elements(descriptor: int, size: int) -> None:
    """Raise AudioRejected when an element is cut, or a second recording follows the first."""
    offset, segments = 0, 0
    for _ in range(_MAX_ELEMENTS):
        if offset >= size:
            return
        name, start, length = _element(descriptor, offset)
        segments += name == _SEGMENT
        if segments > 1:
            raise AudioRejected("unread", "several recordings are joined in one file: store each by itself")
        if start > size or (length is not None and start + length > size):
            raise AudioRejected(
                "truncated", f"the element at byte {offset} is longer than the file of {size}"
            )
        if length is None and name not in (_SEGMENT, _CLUSTER):
            raise AudioRejected("unreadable", f"the element at byte {offset} has no size")
        # Each element of a segment must be whole, and what follows a segment is seen.
        offset = start if name == _SEGMENT or length is None else start + length
    raise AudioRejected("unreadable", f"over {_MAX_ELEMENTS} elements")


def _element(descriptor: int, offset: int) -> tuple[bytes, int, int | None]:
    """Return the name, the content's offset and the length (None if unknown) of the element at an offset."""
    header = os.pread(descriptor, _LONGEST_HEADER, offset)
    name_bytes = _encoded_bytes(header[:1])
    length_bytes = _encoded_bytes(header[name_bytes : name_bytes + 1])
    if not header or name_bytes > 4 or length_bytes > 8:
        raise AudioRejected("unread", f"the bytes from {offset} on are not an element")
    start = name_bytes + length_bytes
    value_bits = 7 * length_bytes
    value = int.from_bytes(header[name_bytes:start].ljust(length_bytes, b"\0"), "big") % 2**value_bits
    length = None if value == 2**value_bits - 1 else value
    return header[:name_bytes], offset + start, length


def _encoded_bytes(first: bytes) -> int:
    """Return the size in bytes of a number, encoded by its leading zeros."""
    return 9 - int.from_bytes(first, "big").bit_length()
