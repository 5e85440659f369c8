"""Model files: one fingerprint for both forms of a model, and clear words for files that do not fit."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from core.codec import CodecConfig, LLMCodec
from core.codec.files.checkpoint import write_directory
from core.codec.files.convert import ReleasedFiles, convert
from core.codec.files.directory import read_words
from core.errors import CheckpointMismatch
from tests.core.codec.conftest import SMALL, random_codec

WORDS = tuple(f"word{i}" for i in range(SMALL.codebook_sizes[0]))


def released_checkpoint(
    path: Path, config: CodecConfig, first_rows: int | None = None
) -> dict[str, torch.Tensor]:
    """Write a torch file in the published form: weight-norm pairs, raw codebooks, projections."""
    g = torch.Generator().manual_seed(1)
    state: dict[str, torch.Tensor] = {}
    for name, tensor in LLMCodec(config).canonical().items():
        stem, _, leaf = name.rpartition(".")
        if leaf == "table":
            rows = first_rows if first_rows and stem.endswith("0") else len(tensor)
            state[f"{stem}.codebook.weight"] = torch.randn(rows, config.codebook_dim, generator=g)
            state[f"{stem}.cb_proj.weight"] = torch.randn(config.latent_dim, config.codebook_dim, generator=g)
            state[f"{stem}.cb_proj.bias"] = torch.randn(config.latent_dim, generator=g)
        elif leaf == "weight" and tensor.dim() == 3:
            state[f"{stem}.weight_g"] = torch.rand(len(tensor), 1, 1, generator=g)
            state[f"{stem}.weight_v"] = torch.randn(tensor.shape, generator=g)
        else:
            state[name] = tensor if leaf == "inv_freq" else torch.rand(tensor.shape, generator=g) + 0.5
    torch.save({"codec_model": state}, path)
    return state


@pytest.fixture
def released(tmp_path: Path) -> ReleasedFiles:
    released_checkpoint(tmp_path / "codec.pth", SMALL)
    np.save(tmp_path / "layer1.npy", np.array(WORDS))
    return ReleasedFiles(tmp_path / "codec.pth", words=tmp_path / "layer1.npy")


def test_released_and_converted_form_have_one_fingerprint_and_the_same_codes(
    released: ReleasedFiles, tmp_path: Path
) -> None:
    from safetensors.torch import save_file

    converted = convert(released, tmp_path / "ours", config=SMALL, first="words")
    raw = tmp_path / "raw"
    raw.mkdir()
    save_file(torch.load(released.checkpoint, weights_only=True)["codec_model"], raw / "model.safetensors")
    (raw / "config.json").write_text(SMALL.to_json())
    (raw / "words.txt").write_text("".join(f"{w}\n" for w in WORDS))
    unconverted = LLMCodec.from_directory(raw)
    assert unconverted.fingerprint == converted.fingerprint
    waveform = torch.randn(1, 1, 20_000, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(converted.encode(waveform), unconverted.encode(waveform), strict=True):
        assert torch.equal(ours, theirs)


def test_fingerprint_changes_with_weights_config_and_words(tmp_path: Path) -> None:
    codec = random_codec(SMALL)
    others = [random_codec(SMALL, seed=1), random_codec(SMALL, WORDS)]
    assert len({codec.fingerprint, *(other.fingerprint for other in others)}) == 3
    assert random_codec(SMALL).fingerprint == codec.fingerprint


def test_the_checkpoint_with_32000_words_is_refused_unless_asked_for_by_name(tmp_path: Path) -> None:
    config = replace(SMALL, codebook_sizes=(64, 256, 256), codebook_dim=4)
    released_checkpoint(tmp_path / "other.pth", config, first_rows=32_000)
    files = ReleasedFiles(tmp_path / "other.pth")
    with pytest.raises(CheckpointMismatch, match=r"32000 rows.*--first-codebook llama"):
        convert(files, tmp_path / "refused", config=config, first="words")
    codec = convert(files, tmp_path / "asked", config=config, first="llama")
    assert codec.config.codebook_sizes[0] == 32_000
    assert not (tmp_path / "refused").exists()


def test_codebooks_missing_from_the_checkpoint_come_from_the_embedding_files(
    released: ReleasedFiles, tmp_path: Path
) -> None:
    state = dict(torch.load(released.checkpoint, weights_only=True)["codec_model"])
    books = [state.pop(f"quantizer.quantizers.{i}.codebook.weight") for i in range(3)]
    torch.save({"codec_model": state}, tmp_path / "bare.pth")
    with pytest.raises(CheckpointMismatch, match="word embeddings"):
        convert(ReleasedFiles(tmp_path / "bare.pth"), tmp_path / "x", config=SMALL, first="words")
    torch.save(books[0], tmp_path / "layer1.pth")
    torch.save({"weight": books[1]}, tmp_path / "embed_llama2.pt")
    files = ReleasedFiles(
        tmp_path / "bare.pth",
        llama_embeddings=tmp_path / "embed_llama2.pt",
        word_embeddings=tmp_path / "layer1.pth",
    )
    assert convert(files, tmp_path / "y", config=SMALL, first="words").fingerprint


def test_a_tensor_of_another_shape_is_named(tmp_path: Path) -> None:
    released_checkpoint(tmp_path / "codec.pth", replace(SMALL, latent_dim=64, decoder_dim=128))
    with pytest.raises(CheckpointMismatch, match=r"decoder\.model.*the configuration says"):
        convert(ReleasedFiles(tmp_path / "codec.pth"), tmp_path / "out", config=SMALL, first="words")


def test_a_file_without_the_codec_model_key_is_refused(tmp_path: Path) -> None:
    torch.save({"generator": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointMismatch, match="codec_model"):
        convert(ReleasedFiles(tmp_path / "other.pth"), tmp_path / "out", config=SMALL, first="words")


def test_words_of_another_count_are_refused(tmp_path: Path) -> None:
    codec = random_codec(SMALL)
    write_directory(tmp_path / "codec", SMALL, codec.canonical(), WORDS[:-1])
    with pytest.raises(CheckpointMismatch, match="63 words for a semantic codebook of 64 rows"):
        LLMCodec.from_directory(tmp_path / "codec")


def test_an_unknown_configuration_field_is_refused(tmp_path: Path) -> None:
    write_directory(tmp_path / "codec", SMALL, random_codec(SMALL).canonical(), ())
    values = json.loads((tmp_path / "codec" / "config.json").read_text())
    (tmp_path / "codec" / "config.json").write_text(json.dumps(values | {"stirdes": 4}))
    with pytest.raises(CheckpointMismatch, match="stirdes"):
        LLMCodec.from_directory(tmp_path / "codec")


@pytest.mark.data
def test_the_released_word_list_has_one_word_for_each_semantic_code(test_data: Path) -> None:
    words = read_words(test_data / "vocab" / "layer1.npy")
    assert len(words) == CodecConfig().codebook_sizes[0]
    assert words == read_words(test_data / "vocab" / "words.txt")


@pytest.mark.data
def test_the_released_configuration_has_the_published_tensors(golden: Path) -> None:
    published = json.loads((golden / "released_state_dict_shapes.json").read_text())
    with torch.device("meta"):
        ours = LLMCodec(CodecConfig()).canonical()
    expected = {}
    for name, shape in published.items():
        stem, _, leaf = name.rpartition(".")
        if leaf == "codebook.weight" or stem.endswith(".codebook"):
            expected[f"{stem.removesuffix('.codebook')}.table"] = (shape[0], 512)
        elif leaf == "weight_v":
            expected[f"{stem}.weight"] = tuple(shape)
        elif leaf != "weight_g" and not stem.endswith("cb_proj"):
            expected[name] = tuple(shape)
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == expected
