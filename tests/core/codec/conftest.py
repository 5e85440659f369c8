"""A small codec of the released shape, its weights drawn by seed."""

from dataclasses import replace

import pytest
import torch

from core.codec import CodecConfig, LLMCodec

SMALL = CodecConfig(
    encoder_dim=4, latent_dim=64, decoder_dim=64, codebook_sizes=(64, 256, 256), codebook_dim=16
)
SMALL_MEL = replace(SMALL, encoder_dim=32, noise=False, blocks="mel")


def random_codec(config: CodecConfig, words: tuple[str, ...] = (), seed: int = 0) -> LLMCodec:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        codec = LLMCodec(config, words)
        tensors = codec.canonical()
        for name in tensors:
            if name.endswith(".table"):
                tensors[name] = torch.randn(tensors[name].shape) * 0.05
    codec.load_canonical(tensors)
    return codec


@pytest.fixture(scope="session")
def codec() -> LLMCodec:
    return random_codec(SMALL)


@pytest.fixture(scope="session", params=[SMALL, SMALL_MEL], ids=["waveform", "mel"])
def any_codec(request: pytest.FixtureRequest) -> LLMCodec:
    """Return a codec of either kind of blocks."""
    return random_codec(request.param)
