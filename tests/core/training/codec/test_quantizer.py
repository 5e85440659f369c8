"""The quantizer in training computes what the released one does, and its projections start in use."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from core.codec.config import CodecConfig
from core.training.codec.losses import consistency_loss, semantic_loss
from core.training.codec.quantizer import TrainableLayer, TrainableQuantizer, principal_axes

CONFIG = CodecConfig(latent_dim=16, codebook_sizes=(64, 96, 96), codebook_dim=24, blocks="mel")


def random_quantizer(*, update: bool = False) -> TrainableQuantizer:
    generator = torch.Generator().manual_seed(0)
    codebooks = [
        torch.randn(size, CONFIG.codebook_dim, generator=generator) for size in CONFIG.codebook_sizes
    ]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return TrainableQuantizer(CONFIG, codebooks, update=update)


def random_latents() -> Tensor:
    """Return slow and fast parts in a few directions, far from zero, like the output of an encoder."""
    generator = torch.Generator().manual_seed(1)
    steps = torch.randn(8, 16, 160, generator=generator).cumsum(-1) * 0.1
    mixed: Tensor = torch.einsum("bdt,de->bet", steps, torch.randn(16, 16, generator=generator)) + 2
    return mixed


def layers(quantizer: TrainableQuantizer) -> list[TrainableLayer]:
    """Return the layers in their own type."""
    return [layer for layer in quantizer.quantizers if isinstance(layer, TrainableLayer)]


def used(codes: Tensor) -> int:
    return len(codes.unique())


@pytest.mark.data
@pytest.mark.parametrize("clip", [0, 1, 2])
def test_losses_are_those_of_the_released_quantizer(golden: Path, clip: int) -> None:
    config = CodecConfig.from_json(golden / "codec" / "config.json")
    weights, vectors = (load_file(golden / "codec" / f"{n}.safetensors") for n in ("model", "vectors"))
    names = [f"quantizer.quantizers.{layer}.codebook.weight" for layer in range(3)]
    quantizer = TrainableQuantizer(config, [weights[name] for name in names], update=False)
    released = {name.removeprefix("quantizer."): tensor for name, tensor in weights.items()}
    quantizer.load_state_dict({name: released[name] for name in quantizer.state_dict()})
    with torch.no_grad():
        quantized = quantizer(vectors[f"clip{clip}.latent"].unsqueeze(0))
    text = vectors[f"clip{clip}.teacher_text"].unsqueeze(0)
    frames = vectors[f"clip{clip}.teacher_frames"].T.unsqueeze(0)
    losses = torch.stack(
        [
            quantized.commitment,
            quantized.codebook,
            semantic_loss(quantized.layers[0], text, "mse"),
            consistency_loss(quantized.layers[1], frames, "mse"),
        ]
    )
    torch.testing.assert_close(losses, vectors[f"clip{clip}.losses"], rtol=1e-5, atol=1e-5)
    for layer in range(3):
        torch.testing.assert_close(
            quantized.codes[layer][0].int(), vectors[f"clip{clip}.codes{layer}"], check_dtype=False
        )


def test_matched_projections_use_most_of_every_codebook() -> None:
    quantizer, latents = random_quantizer(), random_latents()
    before = [used(codes) for codes in quantizer(latents).codes]
    quantizer.match_moments(latents)
    after = [used(codes) for codes in quantizer(latents).codes]
    assert all(count > 0.5 * size for count, size in zip(after, CONFIG.codebook_sizes, strict=True))
    assert sum(after) > 2 * sum(before)


def test_a_matched_codebook_has_the_mean_and_the_spread_of_what_it_quantizes() -> None:
    layer, latents = layers(random_quantizer())[2], random_latents()
    layer.match_moments(latents)
    table, rows = layer.cb_proj(layer.codebook.weight).detach(), latents.transpose(1, 2).flatten(0, 1)
    torch.testing.assert_close(table.mean(0), rows.mean(0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(torch.cov(table.T), torch.cov(rows.T), rtol=1e-2, atol=1e-2)


def test_a_narrow_codebook_matches_the_widest_directions() -> None:
    """More latent dimensions than a codebook vector has (the other way round is the common case)."""
    config = CodecConfig(latent_dim=16, codebook_sizes=(64, 64, 64), codebook_dim=4, blocks="mel")
    quantizer = TrainableQuantizer(config, [torch.randn(64, 4)] * 3, update=False)
    quantizer.match_moments(random_latents())
    assert all(torch.isfinite(p).all() for p in quantizer.parameters())


def test_gradients_reach_the_latents_as_if_nothing_were_rounded() -> None:
    latents = random_latents().requires_grad_(True)
    (random_quantizer()(latents).z_q * torch.arange(160.0)).sum().backward()
    torch.testing.assert_close(latents.grad, torch.arange(160.0).expand_as(latents), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("update", [False, True])
def test_only_updated_codebooks_learn(update: bool) -> None:
    quantizer = random_quantizer(update=update)
    quantizer(random_latents()).codebook.backward()
    for layer in layers(quantizer):
        assert (layer.codebook.weight.grad is not None) is update
        assert layer.cb_proj.weight.grad is not None


def test_principal_axes_are_widest_first_and_of_a_fixed_sign() -> None:
    rows = torch.randn(500, 3, generator=torch.Generator().manual_seed(2)).double()
    axes, spread = principal_axes(rows * torch.tensor([1.0, 5.0, 2.0]))
    assert spread.tolist() == sorted(spread.tolist(), reverse=True)
    torch.testing.assert_close(axes.T @ axes, torch.eye(3, dtype=torch.float64))
    torch.testing.assert_close(axes, principal_axes(-rows * torch.tensor([1.0, 5.0, 2.0]))[0])
