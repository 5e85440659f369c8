"""A training can be stopped anywhere, learns what it is shown, and keeps still what is frozen."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from statistics import mean

import numpy as np
import pytest
import torch
from torch import Tensor

from core.codec import CodecConfig
from core.training.codec.config import CodebookSource, DataSource, TeacherSource, TrainingConfig
from core.training.codec.updates import CodecTrainer, learning_rate_share
from core.training.data.clips import Drawn
from core.training.data.families import Samples

MINI = CodecConfig(
    encoder_dim=16,
    latent_dim=8,
    decoder_dim=16,
    codebook_sizes=(16, 32, 32),
    codebook_dim=12,
    noise=False,
    blocks="mel",
)
RELEASED = CodecConfig(
    encoder_dim=4,
    latent_dim=64,
    decoder_dim=64,
    codebook_sizes=(16, 32, 32),
    codebook_dim=12,
    depthwise=False,
)
CONFIG = TrainingConfig(
    codec=MINI,
    codebooks=CodebookSource(),
    data=DataSource(),
    teachers=TeacherSource(),
    weights={
        "mel": 1.0,
        "envelope": 0.5,
        "commitment": 0.25,
        "codebook": 1.0,
        "semantic": 0.1,
        "consistency": 0.1,
    },
    steps=60,
    warmup_steps=2,
    batch=2,
    crop_blocks=1,
    learning_rate=3e-3,
    schedule="cosine",
    augment=True,
    discriminator_widths=(8,) * 6,
    seed=7,
)
WAVEFORM_WEIGHTS = {
    "waveform": 1.0,
    "stft": 1.0,
    "sub_band": 1.0,
    "commitment": 0.25,
    "codebook": 1.0,
}
ADVERSARIAL_WEIGHTS = {"mel": 1.0, "adversarial": 1.0, "feature": 2.0, "commitment": 0.25, "codebook": 1.0}


class TwoTones:
    weights = torch.ones(2)

    def samples(self, index: int) -> Samples:
        tone = np.sin(2 * np.pi * 440 * (index + 1) * np.arange(12000) / 16000)
        return (0.3 * tone).astype(np.float32)

    def text(self, index: int) -> str:
        return str(index)


class ConstantTeacher:
    """Vectors of ones for everything, as wide as the latent."""

    def __init__(self, dim: int) -> None:
        self.dim = dim

    def text(self, clips: Sequence[int]) -> Tensor:
        return torch.ones(len(clips), self.dim)

    def frames(self, crops: Tensor, drawn: Drawn) -> Tensor:
        return torch.ones(len(crops), self.dim, 5)


def make_trainer(config: TrainingConfig = CONFIG) -> CodecTrainer:
    generator = torch.Generator().manual_seed(0)
    books = [
        torch.randn(size, config.codec.codebook_dim, generator=generator)
        for size in config.codec.codebook_sizes
    ]
    return CodecTrainer(config, books, TwoTones(), ConstantTeacher(config.codec.latent_dim))


def states_equal(first: CodecTrainer, second: CodecTrainer) -> bool:
    return all(
        torch.equal(a, b)
        for one, other in ((first.networks, second.networks), (first.discriminators, second.discriminators))
        for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    )


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        replace(CONFIG, accumulate=2),
        replace(CONFIG, weights=ADVERSARIAL_WEIGHTS, batch=1),
        replace(
            CONFIG, codec=RELEASED, weights=WAVEFORM_WEIGHTS, batch=1, schedule="exponential", decay=0.99
        ),
    ],
    ids=["mini", "accumulated", "adversarial", "released shape"],
)
@pytest.mark.parametrize("stop", [1, 3], ids=["in the warm-up", "after it"])
def test_a_training_that_goes_on_is_the_one_that_never_stopped(
    config: TrainingConfig, stop: int, tmp_path: Path
) -> None:
    straight, stopped, resumed = (make_trainer(config) for _ in range(3))
    expected = [straight.train_step() for _ in range(4)]
    for _ in range(stop):
        stopped.train_step()
    stopped.save(tmp_path / "checkpoint.pt")
    resumed.resume(tmp_path / "checkpoint.pt")
    assert [resumed.train_step() for _ in range(4 - stop)] == expected[stop:]
    assert states_equal(straight, resumed)
    assert all(torch.equal(a, b) for a, b in zip(straight.usage.counts, resumed.usage.counts, strict=True))


def test_a_codec_that_starts_trained_hears_its_teacher_in_its_own_axes() -> None:
    trainer = make_trainer(replace(CONFIG, warmup_steps=0, start_from="codec", learning_rate=0.0))
    before = trainer.train_step()
    trainer.turn_teacher()
    trainer.step = 0
    after = trainer.train_step()
    assert after["semantic"] < before["semantic"]
    assert after["consistency"] < before["consistency"]
    assert after["mel"] == before["mel"]


def test_the_loss_falls_on_a_small_set() -> None:
    trainer = make_trainer(replace(CONFIG, augment=False, learning_rate=0.03))
    losses = [trainer.train_step() for _ in range(CONFIG.steps)]
    assert mean([loss["mel"] for loss in losses[-5:]]) < 0.7 * losses[0]["mel"]


def test_the_released_shape_learns_too() -> None:
    config = replace(CONFIG, codec=RELEASED, weights=WAVEFORM_WEIGHTS, batch=1, augment=False)
    trainer = make_trainer(config)
    losses = [trainer.train_step() for _ in range(8)]
    assert mean([loss["stft"] for loss in losses[-3:]]) < losses[0]["stft"]


def test_mixed_precision_trains_and_keeps_weights_in_full() -> None:
    trainer = make_trainer(replace(CONFIG, precision="bfloat16"))
    losses = [trainer.train_step() for _ in range(4)]
    assert all(np.isfinite(list(loss.values())).all() for loss in losses)
    assert {p.dtype for p in trainer.networks.parameters()} == {torch.float32}


@pytest.mark.parametrize("update", [False, True])
def test_codebooks_stay_unless_they_are_to_be_updated(update: bool) -> None:
    trainer = make_trainer(replace(CONFIG, codebooks=CodebookSource(update=update)))
    before = trainer.networks.state_dict()["quantizer.quantizers.0.codebook.weight"].clone()
    for _ in range(4):
        trainer.train_step()
    after = trainer.networks.state_dict()["quantizer.quantizers.0.codebook.weight"]
    assert torch.equal(before, after) is not update


def test_discriminators_learn_only_where_they_count() -> None:
    plain, adversarial = make_trainer(), make_trainer(replace(CONFIG, weights=ADVERSARIAL_WEIGHTS, batch=1))
    for trainer, learns in ((plain, False), (adversarial, True)):
        before = [p.clone() for p in trainer.discriminators.parameters()]
        losses = trainer.train_step()
        changed = any(
            not torch.equal(a, b) for a, b in zip(before, trainer.discriminators.parameters(), strict=True)
        )
        assert changed is learns
        assert ("discriminator" in losses) is learns


def test_making_a_trainer_leaves_the_callers_random_numbers_alone() -> None:
    state = torch.get_rng_state()
    make_trainer()
    assert torch.equal(state, torch.get_rng_state())


def test_the_learning_rate_rises_and_then_falls_to_almost_nothing() -> None:
    config = replace(CONFIG, steps=1000)
    shares = [learning_rate_share(config, step) for step in range(1000)]
    assert shares.index(max(shares)) < 100
    assert shares[0] < 0.05
    assert shares[-1] < 0.02
    early = replace(config, steps=500, cosine_steps=1000, cooldown_steps=100)
    assert [learning_rate_share(early, step) for step in range(401)] == shares[:401]
    assert learning_rate_share(early, 499) < 0.01
    exponential = replace(config, schedule="exponential", decay=0.999)
    assert learning_rate_share(exponential, 500) == pytest.approx(0.999**500)
