"""A teacher in the directions of a codec that is trained already.

Which axis of the latent stands for what is chance. A codec that starts trained would first unlearn its own
axes for those of another teacher, so the teacher is turned: angles and lengths stay what they were.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.training.codec.teachers import Teacher
from core.training.data.clips import Drawn


class TurnedTeacher:
    """The vectors of a teacher, each times an orthogonal matrix (D, D)."""

    def __init__(self, teacher: Teacher, text: Tensor, frames: Tensor) -> None:
        self._teacher, self._text, self._frames = teacher, text, frames

    def text(self, clips: Sequence[int]) -> Tensor:
        return self._teacher.text(clips) @ self._text

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        frames = self._teacher.frames(crops, drawn)
        return torch.einsum("bdt,de->bet", frames, self._frames.to(frames))


def turn(rows: Tensor, onto: Tensor) -> Tensor:
    """Return the orthogonal (D, D) that brings rows (M, D) nearest to others (Schoenemann, 1966)."""
    left, _, right = torch.linalg.svd(rows.double().T @ onto.double())
    nearest: Tensor = left @ right
    return nearest.float()
