from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from core.embeddings.recipes import RECIPES
from core.training.codec import trainer
from core.training.codec.progress import Unfinished
from flows.cli.models import models, train
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


def test_a_training_whose_time_is_over_says_so_by_its_status(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfinished(*_: object, minutes: float, **__: object) -> None:
        raise Unfinished(int(minutes), 1_000)

    monkeypatch.setattr(trainer, "train_codec", unfinished)
    (tmp_path / "config.json").write_text("{}")
    asked = ["codec", str(tmp_path / "config.json"), str(tmp_path / "out"), "--minutes", "9"]
    result = CliRunner().invoke(train, asked)
    assert result.exit_code == 75
    assert "not done yet: the time is over at step 9 of 1,000" in result.output
    assert "Start the same command again" in result.output
