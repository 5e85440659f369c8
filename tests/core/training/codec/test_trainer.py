"""A configuration file becomes a codec that flows can use, in one go or in two."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from core.codec import LLMCodec
from core.tokens.vocabulary import TextTokenizer
from core.training.codec.config import TrainingConfig
from core.training.codec.progress import Unfinished
from core.training.codec.trainer import read_codebooks, read_semantic_words, train_codec, word_vectors
from core.training.data.families import Samples

PRESETS = Path(__file__).parents[4] / "core" / "presets"
CONFIG = {
    "codec": {
        "encoder_dim": 16,
        "latent_dim": 8,
        "decoder_dim": 16,
        "codebook_sizes": [3, 12, 12],
        "codebook_dim": 6,
        "noise": False,
        "blocks": "mel",
    },
    "codebooks": {
        "embeddings": "table.safetensors",
        "words": "words.txt",
        "tokenizer": str(PRESETS / "mini-codec" / "tokenizer.model"),
    },
    "data": {
        "bank": {"sound_classes": 4, "speech_classes": 0, "takes": 3, "duration": 0.6, "seed": 1},
        "shares": {"sound": 1.0},
    },
    "teachers": {},
    "weights": {"mel": 1.0, "commitment": 0.25, "codebook": 1.0, "semantic": 0.1, "consistency": 0.1},
    "steps": 6,
    "warmup_steps": 2,
    "batch": 2,
    "crop_blocks": 2,
    "learning_rate": 0.003,
    "schedule": "cosine",
    "discriminator_widths": [8, 8, 8, 8, 8, 8],
    "checkpoint_every": 3,
}
WORDS = ("dog", "rain", "siren")


@pytest.fixture
def config_path(tmp_path: Path) -> Path:
    tokenizer = TextTokenizer(PRESETS / "mini-codec" / "tokenizer.model")
    table = torch.randn(len(tokenizer), 6, generator=torch.Generator().manual_seed(0))
    save_file({"weight": table}, tmp_path / "table.safetensors")
    (tmp_path / "words.txt").write_text("".join(f"{word}\n" for word in WORDS))
    sizes = {"codebook_sizes": [3, len(tokenizer), len(tokenizer)]}
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG | {"codec": CONFIG["codec"] | sizes}))  # type: ignore[operator]
    return path


def test_a_training_ends_in_a_codec_with_its_words_and_tokenizer(config_path: Path, tmp_path: Path) -> None:
    codec = LLMCodec.from_directory(train_codec(config_path, tmp_path / "out"))
    assert codec.words == WORDS
    assert [layer.shape for layer in codec.encode(torch.randn(1, 1, 5000))] == [(1, 4), (1, 8), (1, 16)]
    assert (tmp_path / "out" / "codec" / "tokenizer.model").is_file()
    assert {p.name for p in (tmp_path / "out" / "samples").iterdir()} == {"3", "6"}


def test_a_training_cut_in_two_ends_in_the_same_codec(config_path: Path, tmp_path: Path) -> None:
    whole = LLMCodec.from_directory(train_codec(config_path, tmp_path / "whole"))
    values = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(values | {"steps": 3, "cosine_steps": 6}))
    train_codec(config_path, tmp_path / "cut")
    config_path.write_text(json.dumps(values))
    (tmp_path / "cut" / "codec").rename(tmp_path / "early")
    again = LLMCodec.from_directory(train_codec(config_path, tmp_path / "cut"))
    assert again.fingerprint == whole.fingerprint


def test_an_adversarial_training_in_legs_ends_as_one_in_one_go(config_path: Path, tmp_path: Path) -> None:
    values = json.loads(config_path.read_text())
    judged = {"adversarial": 1.0, "feature": 1.0}
    config_path.write_text(json.dumps(values | {"weights": values["weights"] | judged}))
    whole = train_codec(config_path, tmp_path / "whole")
    for step in range(1, values["steps"]):
        with pytest.raises(Unfinished, match=f"at step {step} of 6"):
            train_codec(config_path, tmp_path / "legs", minutes=0)
    legs = train_codec(config_path, tmp_path / "legs", minutes=0)
    assert (legs / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    assert_equal(*(torch.load(tmp_path / name / "checkpoint.pt") for name in ("legs", "whole")))


def assert_equal(one: object, other: object) -> None:
    """Assert that two checkpoints, or parts of them, are the same to the bit."""
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict) and isinstance(other, dict):
        assert one.keys() == other.keys()
        for name in one:
            assert_equal(one[name], other[name])
    elif isinstance(one, list) and isinstance(other, list):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            assert_equal(first, second)
    else:
        assert one == other


def test_a_training_goes_on_from_a_trained_codec(config_path: Path, tmp_path: Path) -> None:
    trained = train_codec(config_path, tmp_path / "out")
    values = json.loads(config_path.read_text())
    further = {"start_from": str(trained), "steps": 1, "warmup_steps": 0, "learning_rate": 0.0}
    config_path.write_text(json.dumps(values | further))
    again = LLMCodec.from_directory(train_codec(config_path, tmp_path / "further"))
    clip = 0.1 * torch.randn(1, 1, 50_000, generator=torch.Generator().manual_seed(0))
    pairs = zip(again.encode(clip), LLMCodec.from_directory(trained).encode(clip), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)


def test_a_manifest_is_read_through_the_reader(config_path: Path, tmp_path: Path) -> None:
    (tmp_path / "train.jsonl").write_text(
        "\n".join(f'{{"path": "s3://b/{n}", "label": "{n % 2}"}}' for n in range(6))
    )
    values = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(values | {"data": {"manifest": "train.jsonl"}}))
    read: set[str] = set()

    def reader(path: str) -> Samples:
        read.add(path)
        return np.random.default_rng(int(path[-1])).standard_normal(9000).astype(np.float32) * 0.1

    train_codec(config_path, tmp_path / "out", reader=reader)
    assert read == {f"s3://b/{n}" for n in range(6)}


def test_recorded_sets_need_a_folder(config_path: Path, tmp_path: Path) -> None:
    values = json.loads(config_path.read_text())
    config_path.write_text(json.dumps(values | {"data": values["data"] | {"sets": ["digits"]}}))
    with pytest.raises(ValueError, match="data folder"):
        train_codec(config_path, tmp_path / "out")


def test_the_first_codebook_is_the_words_and_the_others_the_whole_vocabulary(config_path: Path) -> None:
    config = TrainingConfig.from_json(config_path)
    words, *acoustic = read_codebooks(config, config_path.parent)
    assert read_semantic_words(config, config_path.parent) == WORDS
    assert words.shape == (3, 6)
    assert all(torch.equal(book, acoustic[0]) for book in acoustic)
    tokenizer = TextTokenizer(PRESETS / "mini-codec" / "tokenizer.model")
    torch.testing.assert_close(words[0], acoustic[0][tokenizer.encode("dog")].mean(0))


def test_a_word_of_two_ids_is_the_mean_of_their_vectors(config_path: Path) -> None:
    tokenizer = TextTokenizer(PRESETS / "mini-codec" / "tokenizer.model")
    two = next(word for word in ("xylophone", "umbrella", "hippopotamus") if len(tokenizer.encode(word)) > 1)
    table = torch.randn(len(tokenizer), 4)
    torch.testing.assert_close(
        word_vectors(table, (two,), tokenizer)[0], table[tokenizer.encode(two)].mean(0)
    )
