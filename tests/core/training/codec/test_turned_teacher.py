"""A turned teacher says the same in the axes of a codec."""

from collections.abc import Sequence

import torch
from torch import Tensor

from core.training.codec.turned_teacher import TurnedTeacher, turn
from core.training.data.clips import Drawn

DIM = 6


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def orthogonal(seed: int) -> Tensor:
    """Return an orthogonal matrix (DIM, DIM)."""
    matrix: Tensor = torch.linalg.qr(random(DIM, DIM, seed=seed)).Q
    return matrix


class RandomTeacher:
    """The same random vectors whatever is asked."""

    def text(self, clips: Sequence[int]) -> Tensor:
        return random(len(clips), DIM, seed=1)

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        return random(len(crops), DIM, 5, seed=2)


def test_the_turn_between_two_sets_of_axes_is_found_in_spite_of_noise() -> None:
    rows, wanted = random(500, DIM), orthogonal(3)
    found = turn(rows, rows @ wanted + 0.1 * random(500, DIM, seed=4))
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.05)


def test_angles_and_lengths_stay_as_they_were() -> None:
    found = turn(random(500, DIM), random(500, DIM, seed=5))
    torch.testing.assert_close(found @ found.T, torch.eye(DIM), rtol=0, atol=1e-5)


def test_text_and_frames_are_turned_each_by_its_own_matrix() -> None:
    text, frames = orthogonal(6), orthogonal(7)
    teacher, turned = RandomTeacher(), TurnedTeacher(RandomTeacher(), text, frames)
    crops, drawn = torch.zeros(2, 1, 8), Drawn([0, 1], [0, 0], [1.0, 1.0])
    torch.testing.assert_close(turned.text([0, 1]), teacher.text([0, 1]) @ text)
    plain = teacher.frames(crops, drawn).transpose(1, 2)
    torch.testing.assert_close(turned.frames(crops, drawn).transpose(1, 2), plain @ frames)
