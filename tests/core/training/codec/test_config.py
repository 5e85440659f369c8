"""Every configuration that ships can be read, and says what it claims."""

from math import log2
from pathlib import Path

import pytest

import core.training
from core.codec import CodecConfig
from core.training.codec.config import TrainingConfig

CONFIGS = Path(core.training.__file__).parent / "configs"
SINGLE = ("mini", "mini-gpu", "mini_further", "mini_vanilla_rvq", "released", "paper")
CODECS = [*(CONFIGS / f"{name}.json" for name in SINGLE), *sorted(CONFIGS.glob("table6_*.json"))]


def read(name: str) -> TrainingConfig:
    return TrainingConfig.from_json(CONFIGS / f"{name}.json")


@pytest.mark.parametrize("path", CODECS, ids=lambda path: path.stem)
def test_it_reads_and_its_crops_fit_the_blocks(path: Path) -> None:
    config = TrainingConfig.from_json(path)
    assert config.crop_length % config.codec.block_length == 0


def test_the_released_configuration_has_the_released_shape() -> None:
    config = read("released")
    assert config.codec == CodecConfig()
    assert config.crop_length == 57600


def test_the_paper_differs_from_the_release_where_they_disagree() -> None:
    paper, released = read("paper"), read("released")
    assert (paper.distance, paper.gan, paper.learning_rate) == ("l1", "hinge", 1e-4)
    assert (released.distance, released.gan, released.learning_rate) == ("mse", "lsgan", 2e-4)
    assert paper.codec == released.codec


def test_the_vanilla_control_has_the_bitrate_of_the_mini_codec() -> None:
    rates = [bits_a_second(read(name).codec) for name in ("mini", "mini_vanilla_rvq")]
    assert rates[0] == pytest.approx(rates[1], rel=0.01)


def bits_a_second(config: CodecConfig) -> float:
    frames = config.sample_rate / config.hop_length
    layers = zip(config.codebook_sizes, config.vq_strides, strict=True)
    return sum(frames / stride * log2(size) for size, stride in layers)


def test_the_training_on_a_gpu_is_adversarial_and_ends_in_a_codec_of_the_same_shape() -> None:
    gpu, mini = read("mini-gpu"), read("mini")
    assert gpu.weighs(("adversarial",))
    assert gpu.codec == mini.codec
    assert (gpu.precision, gpu.batch) == ("bfloat16", 4 * mini.batch)


def test_an_ablation_says_only_what_it_changes() -> None:
    without = read("table6_without_semantic")
    assert without.weights == read("released").weights | {"semantic": 0.0}
    assert not without.weighs(("semantic",))
    assert without.weighs(("consistency",))


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ('"weights": {"semantik": 1.0}', ValueError),
        ('"warmup_steps": 7500', ValueError),
        ('"start_from": "codec", "warmup_steps": 500', ValueError),
        ('"speed": 3', TypeError),
    ],
)
def test_what_it_does_not_know_is_refused(tmp_path: Path, change: str, error: type[Exception]) -> None:
    path = tmp_path / "config.json"
    path.write_text(f'{{"base": "{CONFIGS / "mini.json"}", {change}}}')
    with pytest.raises(error):
        TrainingConfig.from_json(path)
