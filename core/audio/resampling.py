"""Waveforms: resample mono blocks to the codec's rate, pad them, write wav and flac.

The only user of torchaudio.

A waveform is float32 of shape (B, C, T). Untrusted files are decoded by core.decoding.child_process.decoder.
This module has the steps after decoding (preprocessing version 1: windowed-sinc resampling, no change of
loudness, zeros on the right), and `read_waveform`, which does everything in this process for notebooks and
tests.
"""

import io
import math
import os
import tempfile
from collections.abc import Hashable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from threading import Lock
from typing import BinaryIO

import numpy as np
import soundfile
import torch
import torch.nn.functional as F
from cachetools import LRUCache, cached
from torch import Tensor

from core.audio.torchaudio_cpu import torchaudio
from core.decoding.audio_stream import DEFAULT_LIMITS, AudioInfo, AudioLimits, Samples
from core.errors import AudioRejected

_LOWPASS_FILTER_WIDTH, _ROLLOFF = 6, 0.99  # torchaudio's own defaults
_CHUNK_SAMPLES = 65_536
_MAX_CACHED_BYTES = 64 * 1024**2
"""Total size of the cached resampling kernels: common rates need a few KiB each, odd ones up to 64 MiB."""


def read_waveform(
    source: str | os.PathLike[str] | bytes, sample_rate: int, limits: AudioLimits = DEFAULT_LIMITS
) -> tuple[Tensor, AudioInfo]:
    """Decode a trusted clip (a path or its bytes) in this process to a waveform (1, 1, T) at `sample_rate`.

    Raises AudioRejected.
    """
    from core.decoding.in_process import open_audio  # with readers that services have in a child

    with _opened(source) as file:
        stream = open_audio(file, limits)
        blocks = resample_blocks(stream, stream.sample_rate, sample_rate, limits)
        waveform = torch.from_numpy(np.concatenate(list(blocks)))
    return waveform[None, None], stream.info


@contextmanager
def _opened(source: str | os.PathLike[str] | bytes) -> Iterator[BinaryIO]:
    if not isinstance(source, bytes):
        with open(source, "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        file.write(source)
        file.seek(0)
        yield file


def resample_blocks(
    blocks: Iterable[Samples], source_rate: int, target_rate: int, limits: AudioLimits = DEFAULT_LIMITS
) -> Iterator[Samples]:
    """Resample a stream of mono blocks in bounded memory, with the result of torchaudio on the whole signal.

    N samples give ceil(N * target_rate / source_rate). The cuts depend on N alone, not on the blocks. Raises
    AudioRejected(bad_rate) for a ratio whose kernel would exceed the limit.
    """
    if source_rate == target_rate:
        yield from blocks
        return
    common = math.gcd(source_rate, target_rate)
    period, new_period = source_rate // common, target_rate // common
    width = _kernel_width(period, new_period, limits)
    resample = _resampler(period, new_period)
    context = math.ceil(width / period) * period
    chunk = math.ceil(_CHUNK_SAMPLES / period) * period
    start = context // period * new_period
    for window, num_samples in _windows(blocks, chunk, context, period):
        resampled: Samples = resample(torch.from_numpy(window)).numpy()
        yield resampled[start : start + math.ceil(num_samples * new_period / period)]


def paper_second(waveform: Tensor, sample_rate: int) -> Tensor:
    """Return the first second, padded with zeros if shorter: (..., T) to (..., sample_rate).

    The paper's released code cuts or pads every clip to this length before encoding.
    """
    missing = max(0, sample_rate - waveform.shape[-1])
    return F.pad(waveform[..., :sample_rate], (0, missing))


def wav_bytes(waveform: Tensor, sample_rate: int) -> bytes:
    """Return a 16-bit PCM wav file of one mono waveform, (1, 1, T) or (T,), clipped at full scale."""
    return _file_bytes(waveform, sample_rate, "WAV")


def flac_bytes(waveform: Tensor, sample_rate: int) -> bytes:
    """Return a 16-bit FLAC file, about half the size of the wav file."""
    return _file_bytes(waveform, sample_rate, "FLAC")


def write_blocks(path: Path, blocks: Iterable[Samples], sample_rate: int, container: str) -> None:
    """Write mono blocks to a 16-bit WAV or FLAC file, clipped at full scale, in bounded memory."""
    with soundfile.SoundFile(path, "w", sample_rate, 1, "PCM_16", format=container) as file:
        for block in blocks:
            file.write(block)


def _file_bytes(waveform: Tensor, sample_rate: int, container: str) -> bytes:
    if waveform.numel() != waveform.shape[-1]:
        raise ValueError(f"a {container} file holds one mono waveform, got shape {tuple(waveform.shape)}")
    samples = waveform.detach().reshape(-1).to("cpu", torch.float32).numpy()
    file = io.BytesIO()
    soundfile.write(file, samples, sample_rate, format=container, subtype="PCM_16")
    return file.getvalue()


def _kernel_width(period: int, new_period: int, limits: AudioLimits) -> int:
    """Return the samples that torchaudio's kernel spans on each side; refuse a kernel that is too large.

    The kernel has new_period filters of period + 2 * width taps, so two rates with a small common divisor
    need gigabytes (44,101 to 16,000 Hz: 2.8 GB).
    """
    width = math.ceil(_LOWPASS_FILTER_WIDTH * period / (min(period, new_period) * _ROLLOFF))
    kernel_bytes = new_period * (period + 2 * width) * torch.float32.itemsize
    if kernel_bytes > limits.max_kernel_bytes:
        raise AudioRejected(
            "bad_rate",
            f"rates of ratio {period}:{new_period} need a resampling kernel of {kernel_bytes} bytes, "
            f"the limit is {limits.max_kernel_bytes}",
        )
    return width


def _kernel_bytes(resampler: torch.nn.Module) -> int:
    return sum(buffer.nbytes for buffer in resampler.buffers())


_resamplers: LRUCache[Hashable, torch.nn.Module] = LRUCache(_MAX_CACHED_BYTES, getsizeof=_kernel_bytes)


@cached(_resamplers, lock=Lock())
def _resampler(period: int, new_period: int) -> torch.nn.Module:
    # The dtype makes it equal torchaudio.functional.resample, which computes its kernel in the signal's own.
    resampler: torch.nn.Module = torchaudio.transforms.Resample(
        period,
        new_period,
        lowpass_filter_width=_LOWPASS_FILTER_WIDTH,
        rolloff=_ROLLOFF,
        dtype=torch.float32,
    )
    return resampler


def _windows(
    blocks: Iterable[Samples], chunk: int, context: int, period: int
) -> Iterator[tuple[Samples, int]]:
    """Yield chunks with `context` samples on each side (zeros past the ends) and the length of each chunk.

    Chunks start at multiples of `period`, where the filters of the resampler repeat. The last one is padded
    with zeros to a full period; its length does not count them.
    """
    margin = np.zeros(context, np.float32)
    buffer = margin
    for block in chain(blocks, [margin]):
        buffer = np.concatenate([buffer, block])
        while len(buffer) >= chunk + 2 * context:
            yield buffer[: chunk + 2 * context], chunk
            buffer = buffer[chunk:]
    if rest := len(buffer) - 2 * context:
        yield np.pad(buffer, (0, -rest % period)), rest
