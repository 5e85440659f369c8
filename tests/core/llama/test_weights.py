import json
import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from core.errors import CheckpointMismatch
from core.llama.files import model_files, model_fingerprint, read_tokenizer
from core.llama.weights import read_model


@pytest.fixture
def copied(llama_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(llama_path, tmp_path / "llama"))


def test_the_fingerprint_is_that_of_the_content_wherever_it_lies(llama_path: Path, copied: Path) -> None:
    (copied / "README.md").write_text("no part of the model")
    assert model_fingerprint(copied, "float32") == model_fingerprint(llama_path, "float32")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.model"])
def test_the_fingerprint_changes_with_any_byte_of_the_model(
    llama_path: Path, copied: Path, name: str
) -> None:
    content = bytearray((copied / name).read_bytes())
    content[-1] ^= 1
    (copied / name).write_bytes(content)
    assert model_fingerprint(copied, "float32") != model_fingerprint(llama_path, "float32")


def test_the_fingerprint_changes_with_the_dtype(llama_path: Path) -> None:
    assert model_fingerprint(llama_path, "float32") != model_fingerprint(llama_path, "bfloat16")


def test_the_files_of_a_model_are_configuration_weights_and_tokenizer(llama_path: Path) -> None:
    names = [path.name for path in model_files(llama_path)]
    assert names == ["config.json", "model.safetensors", "tokenizer.model"]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_directory_without_configuration_or_weights_is_refused(copied: Path, name: str) -> None:
    (copied / name).unlink()
    with pytest.raises(CheckpointMismatch, match="it needs config"):
        read_model(copied, "float32")


def test_a_model_of_another_family_is_refused(copied: Path) -> None:
    change_config(copied, model_type="gpt2")
    with pytest.raises(CheckpointMismatch, match="'gpt2'"):
        read_model(copied, "float32")


def test_weights_of_another_shape_are_refused(copied: Path) -> None:
    change_config(copied, intermediate_size=112)
    with pytest.raises(CheckpointMismatch, match="mlp"):
        read_model(copied, "float32")


def test_missing_weights_are_refused_and_not_made_up(copied: Path) -> None:
    tensors = load_file(copied / "model.safetensors")
    del tensors["model.norm.weight"]
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CheckpointMismatch, match=r"model\.norm\.weight"):
        read_model(copied, "float32")


def test_a_tokenizer_of_more_pieces_than_the_model_has_ids_is_refused(copied: Path) -> None:
    assert read_tokenizer(copied, 420) is not None
    with pytest.raises(CheckpointMismatch, match="420 pieces"):
        read_tokenizer(copied, 419)


def test_a_model_without_a_tokenizer_has_none(copied: Path) -> None:
    (copied / "tokenizer.model").unlink()
    assert read_tokenizer(copied, 420) is None


def change_config(path: Path, **changes: object) -> None:
    config = json.loads((path / "config.json").read_text())
    (path / "config.json").write_text(json.dumps(config | changes))
