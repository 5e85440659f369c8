import numpy as np
import pytest
import torch

from core.codec import LLMCodec
from core.evaluation.features import extract_features
from core.presets import preset_directory


@pytest.fixture(scope="module")
def codec() -> LLMCodec:
    return LLMCodec.from_directory(preset_directory("mini-codec"))


def hiss(seconds: float, seed: int = 0) -> torch.Tensor:
    samples = np.random.default_rng(seed).standard_normal(int(16_000 * seconds))
    return torch.from_numpy((0.1 * samples).astype(np.float32))[None, None]


def test_a_clip_is_described_by_its_codes_and_by_vectors_of_one_size(codec: LLMCodec) -> None:
    short, long = (extract_features(codec, hiss(seconds)) for seconds in (0.5, 3.0))
    assert [layer.tolist() for layer in codec.encode(hiss(0.5))] == [
        [layer.tolist()] for layer in short.codes.layers
    ]
    assert short.codes.latent is not None
    assert short.vectors["log-mel"].shape == long.vectors["log-mel"].shape == (240,)
