"""One clip at a time on a CPU: the same numbers as the blocks that it stands for."""

import pytest
import torch
from torch import Tensor

from core.codec import CodecConfig, LLMCodec
from core.codec.cpu.single_clip import SingleClipDecoder, SingleClipEncoder
from core.codec.layers import WaveformDecoder, WaveformEncoder
from tests.core.codec.conftest import SMALL, random_codec

OTHER_STRIDES = CodecConfig(
    encoder_dim=8,
    encoder_rates=(2, 3, 4),
    latent_dim=64,
    decoder_dim=64,
    decoder_rates=(4, 3, 2),
    noise=False,
    codebook_sizes=(64, 256, 256),
    codebook_dim=16,
)
"""Other strides, and no noise blocks."""


def lively(config: CodecConfig) -> LLMCodec:
    """Return a codec with biases and with alphas of either sign and size, including zero."""
    codec = random_codec(config)
    tensors, generator = codec.canonical(), torch.Generator().manual_seed(3)
    for name, tensor in tensors.items():
        if name.endswith(".alpha"):
            tensors[name] = torch.randn(tensor.shape, generator=generator)
            tensors[name][:, ::3] = 0.0
            tensors[name][:, 1::3] *= 1e-3
        elif name.endswith(".bias"):
            tensors[name] = 0.1 * torch.randn(tensor.shape, generator=generator)
    codec.load_canonical(tensors)
    return codec


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("config", [SMALL, OTHER_STRIDES], ids=["released strides", "other strides"])
@pytest.mark.parametrize("blocks", [1, 2, 5])
@torch.inference_mode()
def test_a_clip_has_the_latents_of_the_blocks(config: CodecConfig, blocks: int) -> None:
    encoder = lively(config).encoder
    assert isinstance(encoder, WaveformEncoder)
    samples = 0.3 * noise(blocks * config.block_length)
    expected = encoder(samples[None, None])[0]
    torch.testing.assert_close(SingleClipEncoder(encoder)(samples), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("config", [SMALL, OTHER_STRIDES], ids=["released strides", "other strides"])
@pytest.mark.parametrize("blocks", [1, 2, 5])
@torch.inference_mode()
def test_a_clip_has_the_samples_of_the_blocks(config: CodecConfig, blocks: int) -> None:
    decoder = lively(config).decoder
    assert isinstance(decoder, WaveformDecoder)
    z_q = noise(config.latent_dim, blocks * config.block_frames)
    expected = decoder(z_q[None], [torch.Generator().manual_seed(5)])[0, 0]
    found = SingleClipDecoder(decoder)(z_q, torch.Generator().manual_seed(5))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_new_weights_are_used_at_once() -> None:
    codec, other = random_codec(SMALL), lively(SMALL)
    waveform = 0.3 * noise(1, 1, 9000)
    codec.decode(codec.encode(waveform))
    codec.load_canonical(other.canonical())
    codes = other.encode(waveform)
    assert all(map(torch.equal, codec.encode(waveform), codes))
    torch.testing.assert_close(codec.decode(codes), other.decode(codes))
