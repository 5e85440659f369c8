"""Log-mel statistics, the embedding that needs no model: mean, deviation and deviation of the steps by band.

A clip is taken piece by piece on its way to the codec, as by core.embeddings.embedder. Frames are computed in
chunks of one size that are cut at fixed places, so the bits depend on the samples alone.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from core.codec.config import MEL_BANDS
from core.codec.mel import LogMelFrames
from core.decoding.audio_stream import Samples
from core.embeddings.embedder import ClipEmbedding, Piece
from core.embeddings.log_mel_model import HOP_LENGTH, SAMPLE_RATE

CHUNK_FRAMES = 128
TAIL_FRAMES = 16
"""The last chunk of a clip is cut to a multiple of these: products of few sizes are compiled once."""
_CONTEXT_FRAMES = 3
"""Frames before and after a chunk whose samples its own frames reach into."""
_Frames = npt.NDArray[np.float64]
_CHUNK, _CONTEXT = CHUNK_FRAMES * HOP_LENGTH, _CONTEXT_FRAMES * HOP_LENGTH


class LogMelPass:
    """One pass over clips: `follow` each of them, then `finish`."""

    def __init__(self) -> None:
        self._clips: list[_ClipFrames] = []

    def follow(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass a clip's 1-D pieces at 16 kHz through unchanged, arrays or tensors, and measure them."""
        clip = _ClipFrames()
        self._clips.append(clip)
        for piece in pieces:
            clip.take(np.asarray(piece))
            yield piece
        clip.end()

    def finish(self) -> list[ClipEmbedding]:
        """Return the statistics of each clip, (3 bands,), in the order in which they came."""
        return [ClipEmbedding(clip.statistics(), None, ()) for clip in self._clips]


def log_mel_statistics(samples: Samples) -> npt.NDArray[np.float32]:
    """Return the statistics (3 bands,) of a whole clip, (T,) float32 at 16 kHz."""
    alone = LogMelPass()
    deque(alone.follow([samples]), maxlen=0)
    return alone.finish()[0].embedding


class _ClipFrames:
    """Sums over the frames of a clip so far, in offsets from its first frame, so that silence has none."""

    def __init__(self) -> None:
        self._waiting = np.zeros(_CONTEXT, np.float32)
        self._left = 0
        self._frames, self._steps = 0, 0
        self._first: _Frames = np.zeros(MEL_BANDS)
        self._last = self._first
        self._sums = np.zeros((4, MEL_BANDS))

    def take(self, piece: Samples) -> None:
        """Add samples, and the frames of each chunk that they complete."""
        self._waiting = np.concatenate((self._waiting, piece))
        self._left += len(piece)
        while len(self._waiting) >= _CHUNK + 2 * _CONTEXT:
            self._add(self._waiting[: _CHUNK + 2 * _CONTEXT], CHUNK_FRAMES)
            self._waiting, self._left = self._waiting[_CHUNK:], self._left - _CHUNK

    def end(self) -> None:
        """Add the frames of what is left, filled up with zeros."""
        while self._left > 0 or not self._frames:
            frames = min(CHUNK_FRAMES, max(1, -(-self._left // HOP_LENGTH)))
            size = -(-frames // TAIL_FRAMES) * TAIL_FRAMES * HOP_LENGTH + 2 * _CONTEXT
            chunk = np.zeros(size, np.float32)
            chunk[: len(self._waiting)] = self._waiting[:size]
            self._add(chunk, frames)
            self._waiting, self._left = self._waiting[_CHUNK:], self._left - _CHUNK

    def statistics(self) -> npt.NDArray[np.float32]:
        steps = max(1, self._steps)
        means = self._sums / np.array([[self._frames], [self._frames], [steps], [steps]])
        deviations = np.sqrt(np.maximum(means[1::2] - np.square(means[::2]), 0))
        return np.concatenate((self._first + means[0], deviations.ravel())).astype(np.float32)

    def _add(self, chunk: Samples, frames: int) -> None:
        bands = _frames_of(chunk)[:frames]
        if not self._frames:
            self._first = self._last = bands[0]
        offsets = bands - self._first
        steps = np.diff(bands, axis=0, prepend=self._last[None])[0 if self._frames else 1 :]
        self._sums += [power.sum(0) for some in (offsets, steps) for power in (some, np.square(some))]
        self._frames, self._steps = self._frames + frames, self._steps + len(steps)
        self._last = bands[-1]


@torch.inference_mode()
def _frames_of(chunk: Samples) -> _Frames:
    """Return float64 frames (frames, bands) of a chunk with its context on both sides."""
    frames: Tensor = _front_end()(torch.from_numpy(np.ascontiguousarray(chunk))[None, None])[0]
    return frames[:, _CONTEXT_FRAMES:-_CONTEXT_FRAMES].T.double().numpy()


@cache
def _front_end() -> LogMelFrames:
    return LogMelFrames(SAMPLE_RATE, HOP_LENGTH)
