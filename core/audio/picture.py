"""Pictures of sound, and PNG files written with zlib alone."""

import struct
import zlib

import numpy as np
import torch
from numpy.typing import NDArray

from core.audio.resampling import resample_blocks
from core.audio.spectrogram import mel_filters, power_frames

PICTURE_RATE = 16_000
"""The sample rate of pictures in Hz: they reach to 8 kHz, whatever the rate of a clip."""
BANDS, N_FFT, FRAME, HOP = 80, 1024, 640, 160
"""Frames of 40 ms, one every 10 ms."""
RANGE_DB = 70.0
"""Decibels from the darkest to the brightest color."""
MIN_TOP_DB = -50.0
"""The lowest level of the brightest color, or silence would be bright."""
ANCHORS = ("#0c0b22", "#2b2466", "#2b5590", "#1f8f8c", "#69c06a", "#d6dd5c", "#fff8cf")
"""Colors from silence to the loudest, ever lighter, so that they also read in gray."""
LEVELS = 64
_GRAY, _INDEXED = 0, 3  # color types of the PNG specification


def mel_levels(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    """Return the levels in dB of samples (T,) as (BANDS, frames), from low to high frequencies."""
    resampled = np.concatenate(list(resample_blocks([samples], rate, PICTURE_RATE)))
    magnitudes = power_frames(torch.from_numpy(resampled), N_FFT, HOP, torch.hann_window(FRAME)).sqrt()
    bands = mel_filters(PICTURE_RATE, N_FFT, BANDS) @ magnitudes
    levels: NDArray[np.float32] = (20.0 * (bands / (FRAME / 4)).clamp(min=1e-6).log10()).numpy()
    return levels


def draw_levels(levels: NDArray[np.float32], loudest: float | None = None) -> bytes:
    """Draw a PNG with a pixel per band and frame, high frequencies at the top.

    loudest: the level in dB of the brightest color; None: that of these levels.
    """
    top = max(float(levels.max()), MIN_TOP_DB) if loudest is None else loudest
    above = (levels[::-1] - top + RANGE_DB) / RANGE_DB
    pixels = (above * (LEVELS - 1)).round().clip(0, LEVELS - 1).astype(np.uint8)
    return png_bytes(pixels, palette())


def scale_bar() -> bytes:
    """Draw every color once, from the quietest to the loudest, as a PNG one pixel high."""
    return png_bytes(np.arange(LEVELS, dtype=np.uint8)[None], palette())


def palette() -> NDArray[np.uint8]:
    """Return the colors (LEVELS, 3), red, green and blue, from the quietest to the loudest."""
    anchors = np.array([list(bytes.fromhex(color[1:])) for color in ANCHORS], dtype=np.float64)
    places = np.linspace(0, len(anchors) - 1, LEVELS)
    channels = [np.interp(places, np.arange(len(anchors)), channel) for channel in anchors.T]
    return np.stack(channels, axis=1).round().astype(np.uint8)


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
