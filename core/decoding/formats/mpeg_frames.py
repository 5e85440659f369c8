"""The frames of MPEG audio: their headers, and the search for them."""

import os
from functools import lru_cache
from typing import NamedTuple

HEADER_BYTES = 4
_READ_BYTES = 1024**2
_MPEG_1 = 3
_BIT_RATES = {  # kbit/s by (is MPEG 1, layer)
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_LAYERS = {1: 3, 2: 2}  # by the bits of the header
_RATES = (44_100, 48_000, 32_000)
_RATE_DIVISORS = {0: 4, 2: 2, _MPEG_1: 1}


class Format(NamedTuple):
    """Properties of all frames of a stream; `version` is 3 for MPEG 1, 2 for MPEG 2, 0 for MPEG 2.5."""

    version: int
    layer: int
    sample_rate: int
    channels: int

    def __str__(self) -> str:
        return f"layer {self.layer}, {self.sample_rate} Hz, {self.channels} channels"

    @property
    def samples(self) -> int:
        """Samples per frame."""
        return 576 if self.layer == 3 and self.version != _MPEG_1 else 1152

    @property
    def side_info_bytes(self) -> int:
        """Bytes between a frame's header and its audio, layer III only."""
        if self.version == _MPEG_1:
            return 17 if self.channels == 1 else 32
        return 9 if self.channels == 1 else 17


class Frame(NamedTuple):
    """Format and length in bytes of a frame."""

    format: Format
    length: int


def read_frame(header: bytes) -> Frame | None:
    """Parse a frame header; None for other bytes, or for a frame without a fixed length."""
    if len(header) < HEADER_BYTES or header[0] != 0xFF or header[1] < 0xE0:
        return None
    return _frame(header[1], header[2], header[3] >> 6)


@lru_cache(4096)
def _frame(first: int, second: int, mode: int) -> Frame | None:
    version, layer = first >> 3 & 3, _LAYERS.get(first >> 1 & 3)
    bit_rate, rate, padding = second >> 4, second >> 2 & 3, second >> 1 & 1
    if version not in _RATE_DIVISORS or not layer or not 0 < bit_rate < 15 or rate == 3:
        return None
    form = Format(version, layer, _RATES[rate] // _RATE_DIVISORS[version], 1 if mode == 3 else 2)
    bits = 1000 * _BIT_RATES[version == _MPEG_1, layer][bit_rate - 1]
    return Frame(form, form.samples // 8 * bits // form.sample_rate + padding)


class FileWindow:
    """Random access to a file that is read in large parts."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._start, self._data = 0, b""

    def read(self, offset: int, count: int) -> bytes:
        """Return `count` bytes at `offset`, fewer at the end of the file."""
        at = offset - self._start
        if at < 0 or at + count > len(self._data):
            self._start, at = offset, 0
            self._data = os.pread(self._descriptor, _READ_BYTES, offset)
        return self._data[at : at + count]

    def find(self, byte: bytes, offset: int, end: int) -> int:
        """Return the offset of the next occurrence of a byte, or `end`."""
        while offset < end:
            self.read(offset, 1)
            at = self._data.find(byte, offset - self._start)
            if at >= 0:
                return min(self._start + at, end)
            offset = self._start + len(self._data)
        return end
