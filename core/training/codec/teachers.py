"""Teachers of the first two layers (paper, section 3.2, equations 3 and 4).

The full codec learns from a frozen T5 encoder (the text of a clip) and a frozen Whisper encoder (its frames).
The mini codec has stand-ins that need no download: for T5 the directions of log-mel statistics that separate
the classes of its bank, for Whisper the principal components of log-mel frames.
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from core.codec.mel import MEL_FRAMES, LogMelFrames
from core.training.codec.quantizer import principal_axes
from core.training.data.clips import Clips, Drawn

FRAME_STEP = 7
"""Step between the frames to which the components are fitted: neighboring frames are alike."""
TEXT_SCALE = 1.5
"""Root mean square of the stand-in's vectors: about that of a latent, so classes fill the semantic layer."""
RIDGE = 0.05
"""Share of the mean variance added to every direction within a class, so that none is empty."""


class Teacher(Protocol):
    """Target vectors of a batch: `text` (B, D) by number of the clip, `frames` (B, D, F) from crops (B, 1, T)
    or from where they were drawn.
    """

    def text(self, clips: Sequence[int]) -> Tensor: ...

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor: ...


class MelTeacher:
    """Stand-ins for both teachers, fitted in closed form to a bank of clips with classes.

    Frames are taken relative to their mean over `stride` frames, those of a semantic code: the second layer
    need not repeat the semantic code.
    """

    def __init__(
        self, clips: Clips, count: int, *, sample_rate: int, hop_length: int, stride: int, dim: int
    ) -> None:
        self._mel = LogMelFrames(sample_rate, hop_length // MEL_FRAMES)
        self._stride = stride
        statistics, frames = [], []
        for index in range(count):
            mel = self._log_mel(clips, index)
            statistics.append(clip_statistics(mel))
            frames.append(self._changes(mel.unsqueeze(0))[0, ::FRAME_STEP])
        self._text = discriminant_vectors(
            torch.stack(statistics), [clips.text(index) for index in range(count)], dim
        )
        self._axes = scaled_components(torch.cat(frames), dim)

    def text(self, clips: Sequence[int]) -> Tensor:
        return self._text[list(clips)]

    def frames(self, crops: Tensor, drawn: Drawn | None = None) -> Tensor:
        return (self._changes(self._mel.to(crops.device)(crops)) @ self._axes.to(crops)).transpose(1, 2)

    def _log_mel(self, clips: Clips, index: int) -> Tensor:
        """Return (bands, F), whole semantic codes."""
        samples = torch.from_numpy(clips.samples(index))
        padded = functional.pad(
            samples, (0, -len(samples) % (self._mel.hop_length * MEL_FRAMES * self._stride))
        )
        mel: Tensor = self._mel(padded.view(1, 1, -1))[0]
        return mel

    def _changes(self, mel: Tensor) -> Tensor:
        """Stack (B, bands, MEL_FRAMES * T) to (B, T, MEL_FRAMES * bands), minus the mean over each semantic
        code.
        """
        frames = mel.shape[2] // MEL_FRAMES
        stacked = mel.view(*mel.shape[:2], frames, MEL_FRAMES).permute(0, 3, 1, 2).flatten(1, 2)
        mean = functional.avg_pool1d(stacked, self._stride).repeat_interleave(self._stride, dim=-1)
        changes: Tensor = (stacked - mean).transpose(1, 2)
        return changes


def scaled_components(rows: Tensor, dim: int) -> Tensor:
    """Return `dim` principal axes (F, dim) of (M, F), scaled so that the components' mean square is 1."""
    axes, spread = principal_axes(rows.double())
    return (axes[:, :dim] / spread[:dim].square().mean().sqrt()).float()


def clip_statistics(mel: Tensor) -> Tensor:
    """Return mean, deviation and deviation of the steps between frames: (bands, F) to (3 * bands,)."""
    steps = mel.diff(dim=1) if mel.shape[1] > 2 else torch.zeros(mel.shape[0], 2)
    return torch.cat((mel.mean(1), mel.std(1, correction=0), steps.std(1, correction=0)))


def discriminant_vectors(statistics: Tensor, classes: Sequence[str], dim: int) -> Tensor:
    """Return linear discriminants (Fisher) of (M, F) with a class each, (M, dim), all with the same scale.

    Directions in which clips of one class differ count little, those that separate the classes count most.
    """
    rows = (statistics - statistics.mean(0)).double()
    rows = rows / rows.std(0).clamp(min=1e-6)
    names = {name: number for number, name in enumerate(dict.fromkeys(classes))}
    member = torch.tensor([names[name] for name in classes])
    counts = torch.bincount(member).double().unsqueeze(1)
    means = torch.zeros(len(names), rows.shape[1], dtype=torch.float64).index_add(0, member, rows) / counts
    within = (rows - means[member])[counts[member, 0] > 1]
    scatter = within.T @ within / len(within)
    scatter += (
        RIDGE * scatter.diagonal().mean().clamp(min=1e-9) * torch.eye(len(scatter), dtype=torch.float64)
    )
    whiten = torch.linalg.inv(torch.linalg.cholesky(scatter)).T
    axes, _ = principal_axes(means @ whiten)
    vectors = rows @ whiten @ axes[:, :dim]
    scaled: Tensor = TEXT_SCALE * vectors / vectors.square().mean().sqrt()
    return scaled.float()
