"""The released shape at full size, random weights: converts, loads and runs."""

import json
from pathlib import Path

import pytest
import torch

from core.codec import CodecConfig
from core.codec.files.convert import ReleasedFiles, convert


@pytest.mark.slow
@pytest.mark.data
def test_a_full_size_checkpoint_converts_and_runs(golden: Path, test_data: Path, tmp_path: Path) -> None:
    shapes = json.loads((golden / "released_state_dict_shapes.json").read_text())
    g = torch.Generator().manual_seed(0)
    state = {name: 0.02 * torch.randn(shape, generator=g) for name, shape in shapes.items()}
    state |= {name: t.abs() + 0.1 for name, t in state.items() if name.endswith(("weight_g", "alpha"))}
    torch.save({"codec_model": state}, tmp_path / "llm-codec.pth")
    files = ReleasedFiles(tmp_path / "llm-codec.pth", words=test_data / "vocab" / "layer1.npy")
    codec = convert(files, tmp_path / "llm-codec", config=CodecConfig(), first="words")
    codes = codec.encode(torch.randn(1, 1, 16_000, generator=g) * 0.1)
    assert [layer.shape[1] for layer in codes] == [10, 20, 40]
    assert codec.decode(codes).shape == (1, 1, 19_200)
    assert len(codec.words) == 3248
