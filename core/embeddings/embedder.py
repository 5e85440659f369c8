"""From clips to their pooled embeddings and timed class scores, a window at a time and many clips at once.

A clip is taken piece by piece on its way to the codec. Windows of all clips share batches; memory is bounded
by a batch of windows and a few numbers per window, or its embedding where that is kept, never by the audio.
"""

import math
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from core.decoding.audio_stream import Samples
from core.embeddings.description import EmbeddingDescription, read_description
from core.embeddings.front_end import Features
from core.embeddings.network import Network, WindowOutput
from core.errors import AudioRejected

Piece = TypeVar("Piece", bound=npt.ArrayLike)
HalfFeatures = npt.NDArray[np.float16]

TOP_CLASSES = 5
"""Classes that are kept of each window."""


class TimedScore(NamedTuple):
    """One of the best classes of a window, both by number; windows are a hop apart."""

    window: int
    class_number: int
    score: float


@dataclass(frozen=True)
class ClipEmbedding:
    """embedding (D,) and scores (classes,) are means over the clip's windows; only a tagger has scores.

    windows (windows, D): the embedding of each, where they were to be kept.
    """

    embedding: Features
    scores: Features | None
    timed: tuple[TimedScore, ...]
    windows: HalfFeatures | None = None

    def check(self) -> None:
        """Raise AudioRejected for numbers that must not be stored."""
        for numbers in (self.embedding, self.scores, self.windows):
            if numbers is not None and not np.isfinite(numbers).all():
                raise AudioRejected("not_finite", "the clip's embedding is not of finite numbers")


class Embedder:
    """A loaded embedding model; raises CheckpointMismatch or MissingPackage."""

    def __init__(self, directory: Path, *, device: str = "cpu", threads: int = 1) -> None:
        self.description = read_description(directory)
        self.network = Network(directory, self.description, device=device, threads=threads)

    @property
    def fingerprint(self) -> str:
        """Return what names this model in every row that came of it."""
        return self.description.fingerprint

    def embed(self, clips: Iterable[Samples]) -> list[ClipEmbedding]:
        """Return the embedding of each clip, (T,) float32 at the model's rate."""
        together = EmbeddingPass(self)
        for clip in clips:
            deque(together.follow([clip]), maxlen=0)
        return together.finish()


class EmbeddingPass:
    """One pass over clips: `follow` each of them, then `finish`.

    keep_windows: whether the embedding of each window is wanted too, in half precision.
    """

    def __init__(self, embedder: Embedder, *, keep_windows: bool = False) -> None:
        self._embedder = embedder
        self._keep_windows = keep_windows
        self._clips: list[_ClipSums] = []
        self._waiting: list[tuple[_ClipSums, Features]] = []

    def follow(self, pieces: Iterable[Piece]) -> Iterator[Piece]:
        """Pass a clip's 1-D pieces through unchanged, arrays or tensors, and embed them."""
        clip = _ClipSums(self._embedder.description, [] if self._keep_windows else None)
        self._clips.append(clip)
        windows = WindowCutter(self._embedder.description)
        for piece in pieces:
            for window in windows.take(np.asarray(piece)):
                self._wait(clip, window)
            yield piece
        for window in windows.rest():
            self._wait(clip, window)

    def finish(self) -> list[ClipEmbedding]:
        """Return the embedding of each clip in the order in which they came."""
        self._run()
        return [clip.embedding() for clip in self._clips]

    def _wait(self, clip: "_ClipSums", window: Samples) -> None:
        described = self._embedder.description
        self._waiting.append((clip, described.front_end.features(window, described.sample_rate)))
        if len(self._waiting) == self._embedder.network.rows:
            self._run()

    def _run(self) -> None:
        if not self._waiting:
            return
        outputs = self._embedder.network.run([features for _, features in self._waiting])
        for (clip, _), output in zip(self._waiting, outputs, strict=True):
            clip.add(output)
        self._waiting.clear()


class WindowCutter:
    """Cuts a clip that arrives as pieces of any size into windows that overlap.

    A clip shorter than a window, and the end that a hop has begun, are filled up with zeros.
    """

    def __init__(self, description: EmbeddingDescription) -> None:
        self._window, self._hop = description.window, description.hop
        self._buffer = np.zeros(0, np.float32)
        self._is_first = True

    def take(self, piece: Samples) -> Iterator[Samples]:
        """Yield the windows that this piece completes."""
        self._buffer = np.concatenate((self._buffer, piece))
        at = 0
        while at + self._window <= len(self._buffer):
            yield self._buffer[at : at + self._window]
            at += self._hop
            self._is_first = False
        self._buffer = self._buffer[at:]

    def rest(self) -> Iterator[Samples]:
        """Yield the last window, where samples are left that none has."""
        covered = 0 if self._is_first else self._window - self._hop
        if len(self._buffer) > covered:
            yield np.pad(self._buffer, (0, self._window - len(self._buffer)))


@dataclass
class _ClipSums:
    """Sums over the windows of a clip so far."""

    description: EmbeddingDescription
    kept: list[HalfFeatures] | None = None
    windows: int = 0
    embeddings: npt.NDArray[np.float64] = field(init=False)
    scores: npt.NDArray[np.float64] = field(init=False)
    timed: list[TimedScore] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.embeddings = np.zeros(self.description.dimensions)
        self.scores = np.zeros(len(self.description.classes))

    def add(self, output: WindowOutput) -> None:
        self.embeddings += output.embedding
        if self.kept is not None:
            self.kept.append(_half(output.embedding))
        if output.scores is not None:
            self.scores += output.scores
            best = best_classes(output.scores, TOP_CLASSES)
            self.timed += [TimedScore(self.windows, *one) for one in best]
        self.windows += 1

    def embedding(self) -> ClipEmbedding:
        """Return the means."""
        count = max(1, self.windows)
        scores = (self.scores / count).astype(np.float32) if self.description.classes else None
        kept = None if self.kept is None else np.array(self.kept).reshape(-1, self.description.dimensions)
        embedding = (self.embeddings / count).astype(np.float32)
        return ClipEmbedding(embedding, scores, tuple(self.timed), kept)


def _half(embedding: Features) -> HalfFeatures:
    """Return half precision; numbers beyond it become infinite, which `check` refuses."""
    with np.errstate(over="ignore"):
        return embedding.astype(np.float16)


def best_classes(scores: Features, count: int) -> Sequence[tuple[int, float]]:
    """Return the classes of the highest scores, the best first; of equal ones the first."""
    best = np.argsort(-scores, kind="stable")[:count]
    return [(int(number), float(scores[number])) for number in best]


def count_windows(num_samples: int, description: EmbeddingDescription) -> int:
    """Return the number of windows of a clip."""
    if num_samples == 0:
        return 0
    return 1 + max(0, math.ceil((num_samples - description.window) / description.hop))
