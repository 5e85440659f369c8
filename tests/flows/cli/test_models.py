from pathlib import Path

import click
from click.testing import CliRunner

from core.embeddings.recipes import RECIPES
from flows.cli.models import models
from tests.tiny_tagger import require_onnx


def test_a_file_of_another_kind_is_refused_by_convert_embedding(tmp_path: Path) -> None:
    require_onnx()
    (tmp_path / "model.onnx").write_bytes(b"\x80\x04pickle")
    asked = ["convert-embedding", str(tmp_path / "model.onnx"), str(tmp_path / "out")]
    result = CliRunner().invoke(models, asked)
    assert result.exit_code != 0
    assert "is no ONNX file" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_convert_embedding_knows_every_recipe() -> None:
    (option,) = (one for one in models.commands["convert-embedding"].params if one.name == "model")
    assert isinstance(option.type, click.Choice)
    assert set(option.type.choices) == set(RECIPES)
