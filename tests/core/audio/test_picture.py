"""A PNG file holds the pixels and the colors it was given."""

import zlib

import numpy as np
import pytest

from core.audio.picture import png_bytes


def chunks(png: bytes) -> dict[bytes, bytes]:
    """Yield each chunk of the file after checking its checksum."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    parts, rest = {}, png[8:]
    while rest:
        length, kind = int.from_bytes(rest[:4], "big"), rest[4:8]
        parts[kind], checksum = rest[8 : 8 + length], rest[8 + length : 12 + length]
        assert int.from_bytes(checksum, "big") == zlib.crc32(kind + parts[kind])
        rest = rest[12 + length :]
    return parts


def test_a_picture_holds_its_pixels() -> None:
    parts = chunks(png_bytes(np.arange(6, dtype=np.uint8).reshape(2, 3)))
    assert list(parts) == [b"IHDR", b"IDAT", b"IEND"]
    assert zlib.decompress(parts[b"IDAT"]) == bytes([0, 0, 1, 2, 0, 3, 4, 5])


def test_a_picture_with_a_palette_holds_its_colors() -> None:
    palette = np.array([[0, 0, 0], [255, 128, 0]], dtype=np.uint8)
    parts = chunks(png_bytes(np.array([[0, 1]], dtype=np.uint8), palette))
    assert parts[b"IHDR"] == bytes([0, 0, 0, 2, 0, 0, 0, 1, 8, 3, 0, 0, 0])
    assert parts[b"PLTE"] == bytes([0, 0, 0, 255, 128, 0])


def test_a_pixel_without_a_color_is_refused() -> None:
    with pytest.raises(ValueError, match="the palette has 1 colors"):
        png_bytes(np.array([[1]], dtype=np.uint8), np.zeros((1, 3), np.uint8))
