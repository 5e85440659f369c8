"""The full network trains: the released shape, LLAMA-sized codebooks, both teachers (of random weights)."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from torch import Tensor

import core.training
from core.training.codec.config import TrainingConfig
from core.training.codec.updates import CodecTrainer
from core.training.data.clips import Drawn
from core.training.data.families import Samples

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

CONFIG = TrainingConfig.from_json(Path(core.training.__file__).parent / "configs" / "released.json")
SHORT = replace(CONFIG, batch=1, accumulate=1, crop_blocks=3, steps=20, warmup_steps=5)
"""Crops of 0.72 s, one a step."""


class TwoSounds:
    weights = torch.ones(2)

    def samples(self, index: int) -> Samples:
        seconds = np.arange(16000) / 16000
        tone = np.sin(2 * np.pi * 300 * (index + 1) * seconds) * np.exp(-3 * seconds)
        return (0.5 * tone).astype(np.float32)

    def text(self, index: int) -> str:
        return str(index)


class RandomTeacher:
    """Fixed random vectors in place of T5 and Whisper, 512 wide."""

    def text(self, clips: Sequence[int]) -> Tensor:
        return torch.stack(
            [torch.randn(512, generator=torch.Generator().manual_seed(clip)) for clip in clips]
        )

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        return torch.randn(len(crops), 512, 36, generator=torch.Generator().manual_seed(9))


@pytest.fixture(scope="module")
def codebooks() -> list[Tensor]:
    table = torch.randn(32000, 4096, generator=torch.Generator().manual_seed(0))
    return [table[:3248], table, table]


def test_twenty_steps_lower_the_loss_and_resume_bit_for_bit(codebooks: list[Tensor], tmp_path: Path) -> None:
    trainer = CodecTrainer(SHORT, codebooks, TwoSounds(), RandomTeacher())
    losses = [trainer.train_step() for _ in range(18)]
    trainer.save(tmp_path / "checkpoint.pt")
    expected = [trainer.train_step() for _ in range(2)]
    assert mean(loss["stft"] for loss in losses[-4:]) < mean(loss["stft"] for loss in losses[:4])
    resumed = CodecTrainer(SHORT, codebooks, TwoSounds(), RandomTeacher())
    resumed.resume(tmp_path / "checkpoint.pt")
    assert [resumed.train_step() for _ in range(2)] == expected
