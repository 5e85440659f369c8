"""Every scale judges every waveform, and its judgment can be learned from."""

import torch

from core.training.codec.discriminator import HOPS, MelDiscriminators


def test_each_scale_gives_scores_and_inner_layers() -> None:
    scores, features = MelDiscriminators(16000, hidden=(16,) * 6)(0.1 * torch.randn(2, 1, 7680))
    assert len(scores) == len(features) == len(HOPS) == 6
    assert all(score.shape[:2] == (2, 1) and torch.isfinite(score).all() for score in scores)
    assert all(len(layers) == 4 for layers in features)


def test_silence_gives_finite_gradients() -> None:
    waveform = torch.zeros(1, 1, 7680, requires_grad=True)
    scores, _ = MelDiscriminators(16000, hidden=(16,) * 6)(waveform)
    torch.stack([score.mean() for score in scores]).sum().backward()
    assert waveform.grad is not None
    assert torch.isfinite(waveform.grad).all()
