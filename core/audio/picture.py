"""PNG files, written with zlib alone."""

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

_GRAY, _INDEXED = 0, 3  # color types of the PNG specification


def png_bytes(pixels: NDArray[np.uint8], palette: NDArray[np.uint8] | None = None) -> bytes:
    """Return a PNG file of (H, W) pixels: gray, or indices into a palette (N, 3) of red, green and blue.

    Raises ValueError for an index outside the palette.
    """
    if palette is not None and pixels.size and pixels.max() >= len(palette):
        raise ValueError(f"the pixel {pixels.max()} is out of range: the palette has {len(palette)} colors")
    height, width = pixels.shape
    rows = np.concatenate((np.zeros((height, 1), np.uint8), pixels), axis=1).tobytes()
    color_type = _GRAY if palette is None else _INDEXED
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    colors = b"" if palette is None else _chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    image = _chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + colors + image + _chunk(b"IEND", b"")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
