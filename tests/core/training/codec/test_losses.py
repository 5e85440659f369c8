"""Losses vanish where nothing is wrong, grow where something is, and all their gradients are finite."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from core.training.codec.losses import (
    SUB_BANDS,
    SpectrumLosses,
    SubBands,
    WaveformLosses,
    adversarial_loss,
    consistency_loss,
    discriminator_loss,
    feature_loss,
    semantic_loss,
)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_perfect_waveform_loses_nothing() -> None:
    waveform = noise(2, 1, 7200)
    assert all(float(loss) == 0 for loss in WaveformLosses()(waveform, waveform).values())


def test_every_waveform_loss_grows_with_the_error() -> None:
    losses, target = WaveformLosses(), noise(2, 1, 7200)
    near, far = (losses(target + scale * noise(2, 1, 7200, seed=1), target) for scale in (0.1, 1.0))
    assert all(0 < float(near[name]) < float(far[name]) for name in near)


def test_silence_gives_finite_gradients() -> None:
    decoded = torch.zeros(1, 1, 7200, requires_grad=True)
    torch.stack(list(WaveformLosses()(decoded, noise(1, 1, 7200)).values())).sum().backward()
    assert decoded.grad is not None
    assert torch.isfinite(decoded.grad).all()


def test_the_sub_bands_hold_the_whole_signal() -> None:
    """The six bands, raised to full rate and filtered again, are the signal within half a percent."""
    split, samples = SubBands(), noise(1, 6000)
    bands = split(samples).view(1, SUB_BANDS, -1)
    raised = torch.zeros(1, SUB_BANDS, 6000)
    raised[..., ::SUB_BANDS] = SUB_BANDS * bands
    synthesis = split.filters.flip(-1).transpose(0, 1)
    joined = functional.conv1d(raised, synthesis, padding=synthesis.shape[-1] // 2)[0]
    error = (joined - samples)[:, 200:-200].norm() / samples.norm()
    assert float(error) < 0.005


@pytest.mark.parametrize(("hertz", "band"), [(300, 0), (2000, 1), (7500, 5)])
def test_a_tone_falls_into_its_band(hertz: float, band: int) -> None:
    tone = torch.sin(2 * math.pi * hertz * torch.arange(4800) / 16000).unsqueeze(0)
    energy = SubBands()(tone).square().mean(-1)
    assert int(energy.argmax()) == band


def test_a_perfect_spectrum_loses_nothing_and_a_louder_one_only_its_level() -> None:
    losses, target = SpectrumLosses(16000, 640), noise(2, 321, 120).mul(10)
    same, louder = losses(target, target), losses(target + 0.5, target)
    assert all(abs(float(loss)) < 1e-5 for loss in same.values())
    assert float(louder["magnitude"]) == pytest.approx(0.5, abs=1e-5)
    assert float(louder["envelope"]) == pytest.approx(0.0, abs=1e-4)


def test_an_envelope_that_runs_the_other_way_is_the_worst() -> None:
    losses = SpectrumLosses(16000, 640)
    target = torch.linspace(-1, 1, 39).expand(1, 321, 39)
    assert float(losses(-target, target)["envelope"]) > 1.8


def test_the_semantic_layer_is_judged_by_its_mean_over_time() -> None:
    z_q = torch.stack((torch.full((4, 6), -1.0), torch.full((4, 6), 3.0)), dim=-1).flatten(1).unsqueeze(0)
    text = torch.ones(1, 4)
    assert float(semantic_loss(z_q, text, "l1")) == pytest.approx(0.0, abs=1e-6)
    assert float(semantic_loss(z_q, text + 2, "mse")) == pytest.approx(4.0)


def test_a_teachers_frames_are_laid_over_the_codecs() -> None:
    frames = torch.arange(5.0).expand(1, 2, 5)
    z_q = frames.repeat_interleave(2, dim=-1)
    assert float(consistency_loss(z_q, frames, "l1")) == 0


@pytest.mark.parametrize(("gan", "fooled"), [("hinge", -1.0), ("lsgan", 0.0)])
def test_discriminators_lose_nothing_when_both_are_told_apart(gan: str, fooled: float) -> None:
    real, decoded = [torch.ones(2, 3)], [torch.full((2, 3), fooled)]
    assert float(discriminator_loss(real, decoded, gan)) == 0  # type: ignore[arg-type]
    assert float(adversarial_loss(real, gan)) == 0  # type: ignore[arg-type]
    assert float(adversarial_loss(decoded, gan)) > 0  # type: ignore[arg-type]


def test_feature_matching_moves_only_the_decoded_side() -> None:
    real, decoded = noise(2, 3).requires_grad_(True), noise(2, 3, seed=1).requires_grad_(True)
    feature_loss([[real]], [[decoded]]).backward()
    assert real.grad is None
    assert decoded.grad is not None
