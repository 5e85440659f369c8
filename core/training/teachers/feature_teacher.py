"""The teacher of a codec that learns from real encoders on a CPU.

What the encoders say of the clips is computed once, before training, and kept in files. An encoder's vectors
are wider than a small codec's latent, so they are projected to their principal components. Crops are varied
while the features are those of the clip as it was: what a code should say does not depend on loudness, speed
or noise.
"""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from core.embeddings.embedder import Embedder
from core.training.codec.teachers import TEXT_SCALE, Teacher, scaled_components
from core.training.data.clips import CaptionedClips, Clips, Drawn
from core.training.teachers.encoders import FRAME_SAMPLES, SentenceEncoder, WhisperFrames
from core.training.teachers.feature_store import kept_features, kept_tensor

CLIPS_FOR_COMPONENTS = 64


class FeatureTeacher:
    """`text` from vectors of whole clips, `frames` from an encoder's; `stand_in` says what is None.

    `heard` has the frames (F, D) of every clip.
    """

    def __init__(self, stand_in: Teacher, vectors: Tensor | None, frames: Sequence[Tensor] | None) -> None:
        self._stand_in, self._vectors, self.heard = stand_in, vectors, frames

    def text(self, clips: Sequence[int]) -> Tensor:
        return self._stand_in.text(clips) if self._vectors is None else self._vectors[list(clips)]

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        if self.heard is None:
            return self._stand_in.frames(crops, drawn)
        rows = zip(drawn.clips, drawn.starts, drawn.speeds, strict=True)
        count = crops.shape[-1] // FRAME_SAMPLES
        return torch.stack([self._row(*row, count) for row in rows]).to(crops.device)

    def _row(self, clip: int, start: int, speed: float, count: int) -> Tensor:
        """Return (D, count): what is heard in the middle of each stretch of a crop, 0 where nothing is."""
        assert self.heard is not None
        frames = self.heard[clip].float()
        middles = (torch.arange(count) + 0.5) * FRAME_SAMPLES * speed
        at = torch.div(start + middles, FRAME_SAMPLES, rounding_mode="floor").long()
        heard = (at >= 0) & (at < len(frames)) & (middles < count * FRAME_SAMPLES)
        return (frames[at.clamp(0, len(frames) - 1)] * heard.unsqueeze(1)).T


def whisper_frames(folder: Path, clips: Clips, whisper: WhisperFrames, dim: int) -> list[Tensor]:
    """Return the frames (F, dim) of every clip, kept under `folder`; their mean square is about 1."""
    folder, count = folder / f"whisper-{whisper.sha256[:12]}-{dim}", len(clips.weights)

    def fit() -> Tensor:
        step = max(1, count // CLIPS_FOR_COMPONENTS)
        rows = torch.cat([whisper.frames(clips.samples(number)) for number in range(0, count, step)])
        return torch.cat((rows.mean(0, keepdim=True), scaled_components(rows - rows.mean(0), dim).T))

    fitted = kept_tensor(folder / "components.safetensors", fit)
    mean, axes = fitted[0], fitted[1:].T
    return kept_features(folder, count, lambda number: (whisper.frames(clips.samples(number)) - mean) @ axes)


def clip_vectors(
    folder: Path, clips: CaptionedClips, sentences: SentenceEncoder | None, tagger: Embedder | None, dim: int
) -> Tensor | None:
    """Return a vector (dim) of every clip, from what it says and how it sounds; None without an encoder.

    The tagger's embedding is no part of the paper's method. Both have the same weight.
    """
    sources = []
    if sentences:
        sources.append(caption_vectors(clips, sentences))
    if tagger:
        sources.append(tagger_vectors(folder, clips, tagger))
    return joined_components(sources, dim) if sources else None


def caption_vectors(clips: CaptionedClips, encoder: SentenceEncoder) -> Tensor:
    """Return (N, D) of the captions, relative to their mean; 0 for a clip whose class has only a number."""
    captions = [clips.caption(number) for number in range(len(clips.weights))]
    known = sorted({caption for caption in captions if caption})
    if not known:
        raise ValueError(
            "no clip has a caption for the sentence encoder: add clips with texts, or leave it out"
        )
    of_caption = dict(zip(known, encoder.vectors(known), strict=True))
    rows = [number for number, caption in enumerate(captions) if caption]
    found = torch.stack([of_caption[captions[number]] for number in rows])
    vectors = torch.zeros(len(captions), found.shape[1])
    vectors[rows] = found - found.mean(0)
    return vectors


def tagger_vectors(folder: Path, clips: Clips, tagger: Embedder) -> Tensor:
    """Return the tagger's embeddings (N, D), relative to their mean, kept under `folder`."""

    def embedding(number: int) -> Tensor:
        (found,) = tagger.embed([clips.samples(number)])
        return torch.from_numpy(found.embedding).unsqueeze(0)

    kept = kept_features(folder / f"tagger-{tagger.fingerprint[:12]}", len(clips.weights), embedding)
    rows = torch.cat(kept).float()
    return rows - rows.mean(0)


def joined_components(sources: Sequence[Tensor], dim: int) -> Tensor:
    """Return (N, dim): principal components of vectors side by side, all sources equally long."""
    scaled = [rows / rows.square().sum(1).mean().sqrt().clamp(min=1e-9) for rows in sources]
    rows = torch.cat(scaled, dim=1)
    vectors = rows @ scaled_components(rows, dim)
    vectors = functional.pad(vectors, (0, dim - vectors.shape[1]))
    return TEXT_SCALE * vectors / vectors.square().mean().sqrt().clamp(min=1e-9)
