"""A training that starts from a codec begins with that codec, or says what does not fit."""

from pathlib import Path

import pytest
import torch

from core.codec import CodecConfig
from core.codec.files.checkpoint import canonical, write_directory
from core.errors import CheckpointMismatch
from core.training.codec.config import CodebookSource, DataSource, TeacherSource, TrainingConfig
from core.training.codec.start import projection, start_from
from core.training.codec.updates import CodecNetworks
from tests.core.training.codec.test_updates import MINI


def networks(*, books: int = 0, codec: CodecConfig = MINI) -> CodecNetworks:
    """Return networks with random weights, and codebooks by a seed."""
    generator = torch.Generator().manual_seed(books)
    codebooks = [torch.randn(size, codec.codebook_dim, generator=generator) for size in codec.codebook_sizes]
    config = TrainingConfig(
        codec,
        CodebookSource(),
        DataSource(),
        TeacherSource(),
        weights={},
        steps=1,
        warmup_steps=0,
        batch=1,
        crop_blocks=1,
        learning_rate=0.1,
        schedule="cosine",
    )
    return CodecNetworks(config, codebooks)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """Return a directory of a codec with the codebooks of `networks()`."""
    write_directory(tmp_path / "trained", MINI, canonical(networks().state_dict()), ())
    return tmp_path / "trained"


def test_a_training_begins_with_the_weights_of_the_codec_it_starts_from(tmp_path: Path) -> None:
    first, second = networks(), networks()
    write_directory(tmp_path / "trained", MINI, canonical(first.state_dict()), ())
    start_from(tmp_path / "trained", second)
    torch.testing.assert_close(canonical(second.state_dict()), canonical(first.state_dict()))


def test_other_codebooks_than_the_codec_was_trained_with_are_refused(trained: Path) -> None:
    with pytest.raises(CheckpointMismatch, match="trained with"):
        start_from(trained, networks(books=1))


def test_another_shape_is_refused(trained: Path) -> None:
    other = CodecConfig(**(vars(MINI) | {"encoder_dim": 24}))
    with pytest.raises(CheckpointMismatch, match="configuration says"):
        start_from(trained, networks(codec=other))


def test_a_codebook_with_fewer_rows_than_columns_has_a_projection_too() -> None:
    codebook, table = torch.randn(4, 12), torch.randn(4, 8)
    weight, bias = projection(codebook, table)
    torch.testing.assert_close(codebook @ weight.T + bias, table, rtol=1e-4, atol=1e-4)
